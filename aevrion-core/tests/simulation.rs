//! Networks in trouble: a hundred of them, one run twice with identical results, and two clocks that are far apart.

use std::time::Duration;

use aevrion_core::simulation::{Plan, Report, Topology, Troubles, Weather, run};

/// Runs seeds on two threads; the first violation ends the test with the command that reproduces it.
fn simulate(seeds: std::ops::Range<u64>) {
    std::thread::scope(|scope| {
        for half in 0..2 {
            let mut seeds = seeds.clone().filter(move |seed| seed % 2 == half);
            scope.spawn(move || {
                let violation = seeds.find_map(|seed| run(&Plan::from_seed(seed)).err());
                assert!(violation.is_none(), "{}", violation.map(|it| it.to_string()).unwrap_or_default());
            });
        }
    });
}

#[test]
fn a_hundred_networks_in_trouble_agree() {
    simulate(1..101);
}

/// A large network with four neighbours per node on average: the cost of a node does not depend on the number of nodes.
#[test]
fn a_crowd_agrees_and_no_node_pays_for_its_size() {
    let crowd = |seed, nodes| {
        let plan = Plan::from_seed(seed).reshaped(Some(nodes), Some(Topology::Random(4)));
        run(&plan).unwrap_or_else(|violation| panic!("{violation}"))
    };
    for seed in 1..4 {
        let (some, many) = (crowd(seed, 60), crowd(seed, 180));
        for crowd in [&some, &many] {
            assert!(crowd.agreed_after <= crowd.agreement_within, "{crowd}");
            assert!(crowd.redundancy() < 1.5, "{crowd}");
        }
        let bytes = |crowd: &Report| crowd.bytes as f64 / crowd.nodes as f64;
        assert!(bytes(&many) < bytes(&some) * 1.3, "{some}\n{many}");
    }
}

/// In a mesh each event reaches all along the tree of its source: once, and by few links. The simulation judges both.
#[test]
fn in_a_mesh_events_are_sent_about_once_for_each_node() {
    for seed in 1..6 {
        let plan = Plan::from_seed(seed).reshaped(Some(80), Some(Topology::Regular(4))).calmed();
        let report = run(&plan).unwrap_or_else(|violation| panic!("{violation}"));
        let later = report.later.expect("it is calm");
        assert!(later.arrivals == later.events as u64 * 79, "{later}");
    }
}

#[test]
fn the_same_seed_is_the_same_run_to_the_bit() {
    for seed in [3, 8, 14] {
        let plan = Plan::from_seed(seed);
        let (first, second) = (run(&plan).unwrap(), run(&plan).unwrap());
        assert_eq!(first, second, "{plan}");
        assert!(first.messages > 100 && first.transcript.len() == 16, "{first}");
    }
    let transcript = |seed| run(&Plan::from_seed(seed)).unwrap().transcript;
    assert_ne!(transcript(3), transcript(8));
}

/// Two or three nodes whose only trouble is clocks off by so many milliseconds.
fn apart(seed: u64, skews: &[i64]) -> Plan {
    let plan = Plan::from_seed(seed).reshaped(Some(skews.len()), Some(Topology::Full));
    Plan {
        skews: skews.to_vec(),
        max_drift: Duration::from_secs(60),
        troubles: Troubles::default(),
        weather: Weather::default(),
        ..plan
    }
}

/// The model's rule on clocks: no write of either node is lost, each wins over the writes that its node had seen, and
/// the faster clock shadows a key only from its timestamp on. The simulation checks this for every write and read.
#[test]
fn clocks_ten_minutes_and_ten_days_apart_lose_nothing() {
    const MINUTES: i64 = 60_000;
    const DAYS: i64 = 86_400_000;
    for seed in 1..6 {
        for skews in [[0, 10 * MINUTES].as_slice(), &[0, -10 * DAYS], &[0, 10 * MINUTES, 10 * DAYS]] {
            let plan = apart(seed, skews);
            let report = run(&plan).unwrap_or_else(|violation| panic!("skews {skews:?}: {violation}"));
            assert!(report.agreed_after <= report.agreement_within);
            assert!(report.promised > 0 && report.events >= report.promised as u64, "{plan}: {report}");
        }
    }
}

/// A star whose centre is ten days behind its leaves: it repairs with one at a time, and each of the others must get
/// its turn although the centre's own past ends before the difference.
#[test]
fn every_leaf_of_a_star_with_a_slow_centre_has_its_turn() {
    run(&Plan::from_seed(20_500)).unwrap_or_else(|violation| panic!("{violation}"));
}
