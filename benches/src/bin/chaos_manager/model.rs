//! What may hold after what was acknowledged and what was cut off.

use std::collections::{BTreeMap, BTreeSet};

use hodei_worker_benches::Outcome;

/// The workers. 0 to 4 go on for ever, 5 and 6 end well, the others fail.
pub(crate) const NAMES: [&str; 10] = ["w0", "w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8", "w9"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Start,
    Stop,
    Remove,
}

impl Operation {
    pub(crate) const ALL: [Self; 4] = [Self::Create, Self::Start, Self::Stop, Self::Remove];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Remove => "remove",
        }
    }
    fn named(name: &str) -> Outcome<Self> {
        let found = Self::ALL.into_iter().find(|operation| operation.as_str() == name);
        found.ok_or_else(|| format!("there is no operation `{name}`").into())
    }
}

/// What is wanted of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wanted {
    Nothing,
    Stopped,
    Running,
}

impl Wanted {
    fn after(self, operation: Operation) -> Self {
        match (operation, self) {
            (Operation::Create, Self::Nothing) => Self::Running,
            (Operation::Create, known) => known,
            (_, Self::Nothing) | (Operation::Remove, _) => Self::Nothing,
            (Operation::Start, _) => Self::Running,
            (Operation::Stop, _) => Self::Stopped,
        }
    }
}

/// What may be wanted of each worker, as far as the acknowledgements tell.
#[derive(Debug, Default)]
pub(crate) struct Model {
    possible: BTreeMap<String, BTreeSet<Wanted>>,
    /// What was told of each worker last.
    told: BTreeMap<String, Vec<String>>,
}

/// How much of what was told of a worker is shown with what is wrong.
const SHOWN: usize = 8;

impl Model {
    pub(crate) fn possible(&self, name: &str) -> BTreeSet<Wanted> {
        self.possible.get(name).cloned().unwrap_or_else(|| BTreeSet::from([Wanted::Nothing]))
    }

    /// What was told of a worker last.
    pub(crate) fn told(&self, name: &str) -> String {
        self.told.get(name).map(|told| told.join("; ")).unwrap_or_default()
    }

    /// It has been seen what is the case.

    pub(crate) fn is(&mut self, name: &str, wanted: Wanted) {
        self.possible.insert(name.to_owned(), BTreeSet::from([wanted]));
    }

    /// Takes in what a host told. Gives how many commands were acknowledged and how many cut off.
    pub(crate) fn take(&mut self, told: &[String]) -> Outcome<(usize, usize)> {
        let (mut acknowledged, mut begun) = (0, None);
        for line in told {
            let words: Vec<_> = line.split(' ').collect();
            if let [_, _, name, ..] = words[..] {
                let told = self.told.entry(name.to_owned()).or_default();
                told.push(line.clone());
                told.drain(..told.len().saturating_sub(SHOWN));
            }
            match words[..] {
                ["begin", operation, name] => begun = Some((Operation::named(operation)?, name)),
                ["done", operation, name] => {
                    begun = None;
                    acknowledged += 1;
                    self.change(Operation::named(operation)?, name, false);
                }
                ["refused", ..] => begun = None,
                _ => {}
            }
        }
        if let Some((operation, name)) = begun {
            self.change(operation, name, true);
        }
        Ok((acknowledged, usize::from(begun.is_some())))
    }

    fn change(&mut self, operation: Operation, name: &str, perhaps: bool) {
        let before = self.possible(name);
        let mut after: BTreeSet<_> = before.iter().map(|wanted| wanted.after(operation)).collect();
        if perhaps {
            after.extend(before);
        }
        self.possible.insert(name.to_owned(), after);
    }
}
