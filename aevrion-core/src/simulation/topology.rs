//! The connections between nodes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::str::FromStr;

use super::random::Random;

/// The topology of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topology {
    /// Every node with every other.
    Full,
    /// Each node with its two neighbours in a ring.
    Ring,
    /// Each node with the next.
    Line,
    /// The first node with every other.
    Star,
    /// A ring, with random chords up to the given average number of links for each node.
    Random(u32),
    /// A ring, with random chords up to the given number of links for each node. A few nodes may have one less.
    Regular(u32),
}

impl Topology {
    /// The links of `nodes` nodes, each named once, the lower number first.
    pub fn links(self, nodes: usize, random: &mut Random) -> Vec<(usize, usize)> {
        let mut links: BTreeSet<(usize, usize)> = BTreeSet::new();
        let mut link = |a: usize, b: usize| a != b && links.insert((a.min(b), a.max(b)));
        let pairs: Vec<(usize, usize)> = match self {
            Self::Full => (0..nodes).flat_map(|a| (0..a).map(move |b| (a, b))).collect(),
            Self::Ring | Self::Random(_) | Self::Regular(_) => {
                (0..nodes).map(|a| (a, (a + 1) % nodes)).collect()
            }
            Self::Line => (1..nodes).map(|a| (a - 1, a)).collect(),
            Self::Star => (1..nodes).map(|a| (0, a)).collect(),
        };
        let mut count = pairs.into_iter().filter(|(a, b)| link(*a, *b)).count();
        if let Self::Random(degree) = self {
            let wanted = (nodes * degree as usize / 2).min(nodes * (nodes - 1) / 2);
            while count < wanted {
                count += usize::from(link(random.place(nodes), random.place(nodes)));
            }
        }
        if let Self::Regular(degree) = self {
            add_chords(nodes, degree as usize, &mut links, random);
        }
        links.into_iter().collect()
    }
}

/// Links random pairs of nodes that have fewer than `degree` links. It stops when pairs are hard to find.
fn add_chords(nodes: usize, degree: usize, links: &mut BTreeSet<(usize, usize)>, random: &mut Random) {
    let mut counts = vec![0; nodes];
    for end in links.iter().flat_map(|(a, b)| [*a, *b]) {
        counts[end] += 1;
    }
    let mut open: Vec<usize> = (0..nodes).filter(|node| counts[*node] < degree).collect();
    let mut failures = 0;
    while open.len() > 1 && failures < nodes {
        let (a, b) = (open[random.place(open.len())], open[random.place(open.len())]);
        if a == b || !links.insert((a.min(b), a.max(b))) {
            failures += 1;
            continue;
        }
        failures = 0;
        for end in [a, b] {
            counts[end] += 1;
        }
        open.retain(|node| counts[*node] < degree);
    }
}

/// The greatest number of links between two nodes, as seen from the first: exact for symmetric topologies, otherwise at
/// least half of it.
pub(super) fn reach(nodes: usize, links: &[(usize, usize)]) -> u64 {
    let mut neighbours = vec![Vec::new(); nodes];
    for (a, b) in links {
        neighbours[*a].push(*b);
        neighbours[*b].push(*a);
    }
    let mut distance = vec![None; nodes];
    let mut queue = VecDeque::from([0]);
    distance[0] = Some(0);
    while let Some(here) = queue.pop_front() {
        for there in &neighbours[here] {
            if distance[*there].is_none() {
                distance[*there] = distance[here].map(|far: u64| far + 1);
                queue.push_back(*there);
            }
        }
    }
    distance.into_iter().flatten().max().unwrap_or(0)
}

/// The greatest number of links of one node.
pub(super) fn most_links(links: &[(usize, usize)]) -> u64 {
    let mut counts: BTreeMap<usize, u64> = BTreeMap::new();
    for end in links.iter().flat_map(|(a, b)| [a, b]) {
        *counts.entry(*end).or_default() += 1;
    }
    counts.into_values().max().unwrap_or(0)
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("full"),
            Self::Ring => f.write_str("ring"),
            Self::Line => f.write_str("line"),
            Self::Star => f.write_str("star"),
            Self::Random(degree) => write!(f, "random-{degree}"),
            Self::Regular(degree) => write!(f, "regular-{degree}"),
        }
    }
}

impl FromStr for Topology {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown =
            || format!("`{text}` is no topology; there are full, ring, line, star, random-D and regular-D");
        Ok(match text {
            "full" => Self::Full,
            "ring" => Self::Ring,
            "line" => Self::Line,
            "star" => Self::Star,
            _ => {
                let (kind, degree) = text.rsplit_once('-').ok_or_else(unknown)?;
                let degree = degree.parse().map_err(|_| unknown())?;
                match kind {
                    "random" => Self::Random(degree),
                    "regular" => Self::Regular(degree),
                    _ => return Err(unknown()),
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topology_connects_everyone() {
        for text in ["full", "ring", "line", "star", "random-3", "regular-3"] {
            let topology: Topology = text.parse().unwrap();
            assert_eq!(topology.to_string(), text);
            let links = topology.links(7, &mut Random::new(1, &[]));
            assert!((1..7).all(|node| links.iter().any(|(a, b)| *a == node || *b == node)), "{text}");
            assert!(reach(7, &links) >= 1);
        }
        assert_eq!(most_links(&Topology::Regular(4).links(100, &mut Random::new(1, &[]))), 4);
        assert_eq!(most_links(&Topology::Star.links(7, &mut Random::new(1, &[]))), 6);
        assert_eq!(most_links(&Topology::Line.links(7, &mut Random::new(1, &[]))), 2);
        assert_eq!(Topology::Line.links(2, &mut Random::new(1, &[])), [(0, 1)]);
        assert_eq!(Topology::Ring.links(2, &mut Random::new(1, &[])), [(0, 1)]);
    }
}
