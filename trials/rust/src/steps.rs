//! What a worker does: the steps of steps.py.

use serde_json::{Value, json};

const LEDGERS: u64 = 48;
const OWN_KEYS: usize = 4;
const CYCLE: [&str; 10] = ["count", "set", "count", "get", "multi", "set", "mget", "count", "get", "del"];

/// One command, or one transaction.
pub(crate) struct Step {
    pub(crate) id: String,
    pub(crate) op: &'static str,
    pub(crate) commands: Vec<Vec<String>>,
    pub(crate) wants: Value,
    own: Vec<usize>,
}

/// Makes the steps of one worker, and keeps account of its own keys.
pub(crate) struct Worker {
    name: String,
    seed: u64,
    made: u64,
    generation: u64,
    values: [Option<String>; OWN_KEYS],
}

impl Worker {
    pub(crate) fn new(client: &str, number: u64) -> Worker {
        let seed = client.bytes().map(u64::from).sum::<u64>() + number;
        Worker {
            name: format!("{client}.{number}"),
            seed,
            made: 0,
            generation: 0,
            values: Default::default(),
        }
    }

    pub(crate) fn next(&mut self) -> Step {
        self.made += 1;
        let id = format!("{}.{}", self.name, self.made);
        let turn = usize::try_from(self.made).expect("few steps");
        let (op, own) = (CYCLE[turn % CYCLE.len()], turn % OWN_KEYS);
        let ledger = format!("ledger:{{{}}}", (self.seed + self.made * 7) % LEDGERS);
        let count = |id: &str| strings(&["HINCRBY", &ledger, id, "1"]);
        let step = |commands, wants, own| Step { id: id.clone(), op, commands, wants, own };
        match op {
            "count" => step(vec![count(&id)], json!(1), vec![]),
            "multi" => {
                let commands = ["a", "b"].iter().map(|part| count(&format!("{id}.{part}")));
                step(commands.collect(), json!([1, 1]), vec![])
            }
            "set" => step(vec![strings(&["SET", &self.key(own), &id])], json!("OK"), vec![own]),
            "get" => step(vec![strings(&["GET", &self.key(own)])], json!(self.values[own]), vec![]),
            "mget" => step(vec![self.with_keys("MGET", &[0, 1, 2, 3])], json!(self.values), vec![]),
            _ => {
                let several = vec![own, (own + 1) % OWN_KEYS];
                let there = several.iter().filter(|number| self.values[**number].is_some()).count();
                step(vec![self.with_keys("DEL", &several)], json!(there), several)
            }
        }
    }

    /// What became of a step. A key whose write is uncertain is never used again.
    pub(crate) fn learn(&mut self, step: &Step, outcome: &str) {
        if step.own.is_empty() || outcome == "not_sent" || outcome == "refused" {
            return;
        }
        if outcome != "replied" {
            self.generation += 1;
            self.values = Default::default();
            return;
        }
        for number in &step.own {
            self.values[*number] = (step.op == "set").then(|| step.id.clone());
        }
    }

    fn key(&self, number: usize) -> String {
        format!("own:{}.{}:{number}", self.name, self.generation)
    }

    fn with_keys(&self, command: &str, numbers: &[usize]) -> Vec<String> {
        let keys = numbers.iter().map(|number| self.key(*number));
        std::iter::once(command.to_owned()).chain(keys).collect()
    }
}

pub(crate) fn strings(parts: &[&str]) -> Vec<String> {
    parts.iter().map(|part| (*part).to_owned()).collect()
}
