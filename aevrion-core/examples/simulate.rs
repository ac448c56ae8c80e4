//! Runs simulations: `simulate [--seed N] [--seeds M] [--nodes K] [--topology T] [--calm] [--verbose] [--messages]`,
//! where T is full, ring, line, star, random-D or regular-D.
//!
//! Simulations are independent of each other, so every core runs its own. The program ends with the first violation,
//! and prints how to reproduce it.

#![expect(
    clippy::disallowed_methods,
    reason = "how long it takes concerns who waits for it, not what is simulated"
)]

use std::error::Error;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use aevrion_core::simulation::{Plan, Report, Topology, Violation, run};

#[derive(Default)]
struct Arguments {
    seed: u64,
    seeds: u64,
    nodes: Option<usize>,
    topology: Option<Topology>,
    calm: bool,
    verbose: bool,
    messages: bool,
}

fn parse() -> Result<Arguments, Box<dyn Error>> {
    let mut arguments = Arguments { seed: 1, seeds: 1, ..Arguments::default() };
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let mut value = || given.next().ok_or_else(|| format!("{name} needs a value"));
        match name.as_str() {
            "--seed" => arguments.seed = value()?.parse()?,
            "--seeds" => arguments.seeds = value()?.parse()?,
            "--nodes" => arguments.nodes = Some(value()?.parse()?),
            "--topology" => arguments.topology = Some(value()?.parse()?),
            "--calm" => arguments.calm = true,
            "--verbose" => arguments.verbose = true,
            "--messages" => arguments.messages = true,
            _ => return Err(format!("there is no argument `{name}`").into()),
        }
    }
    if arguments.nodes.is_some_and(|nodes| nodes < 2) {
        return Err("a network has two nodes at least".into());
    }
    Ok(arguments)
}

/// The state shared by all threads.
struct Course {
    arguments: Arguments,
    next: AtomicU64,
    failed: AtomicBool,
    first: Mutex<Option<Box<Violation>>>,
    began: Instant,
}

impl Course {
    fn work(&self) {
        let end = self.arguments.seed.saturating_add(self.arguments.seeds);
        loop {
            let seed = self.next.fetch_add(1, Ordering::SeqCst);
            if seed >= end || self.failed.load(Ordering::SeqCst) {
                return;
            }
            let plan = Plan::from_seed(seed).reshaped(self.arguments.nodes, self.arguments.topology);
            let plan = if self.arguments.calm { plan.calmed() } else { plan };
            match run(&plan) {
                Ok(report) => self.tell(&plan, &report),
                Err(violation) => {
                    self.failed.store(true, Ordering::SeqCst);
                    let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
                    first.get_or_insert(Box::new(violation));
                }
            }
        }
    }

    fn tell(&self, plan: &Plan, report: &Report) {
        let done = plan.seed + 1 - self.arguments.seed;
        if self.arguments.verbose || self.arguments.seeds == 1 {
            println!("{plan}\n  {report}");
        } else if done.is_multiple_of(100) {
            println!("{done} of {} after {:.0} s", self.arguments.seeds, self.began.elapsed().as_secs_f64());
        }
    }
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments = parse()?;
    if arguments.messages {
        // Logs each sent message of a single simulation.
        let level = tracing_subscriber::filter::LevelFilter::TRACE;
        tracing_subscriber::fmt().with_max_level(level).without_time().with_target(false).init();
    }
    let course = Course {
        next: AtomicU64::new(arguments.seed),
        failed: AtomicBool::new(false),
        first: Mutex::new(None),
        began: Instant::now(),
        arguments,
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| course.work());
        }
    });
    let seconds = course.began.elapsed().as_secs_f64();
    if let Some(violation) = course.first.into_inner().unwrap_or_else(PoisonError::into_inner) {
        eprintln!("{violation}");
        return Ok(ExitCode::FAILURE);
    }
    println!("{} simulations without a violation in {seconds:.1} s", course.arguments.seeds);
    Ok(ExitCode::SUCCESS)
}
