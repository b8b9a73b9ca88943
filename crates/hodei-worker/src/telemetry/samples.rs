use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hodei_worker_core::{
    WorkerId,
    model::{GroupRef, ProviderName},
    provider::WorkerStats,
};
use metrics::Unit;

use super::{SamplingSettings, names};

/// The last that was measured of one worker.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sample {
    /// Its provider.
    pub provider: ProviderName,
    /// Its type.
    pub worker_type: Option<GroupRef>,
    /// What it uses.
    pub stats: Option<WorkerStats>,
    /// Whether its last probe over the network was answered.
    pub reachable: Option<bool>,
    /// How long the last answered probe took.
    pub response: Option<Duration>,
}

/// The last measurements of single workers. Clones are handles of the same table.
#[derive(Clone, Default)]
pub struct Samples(Arc<Mutex<Table>>);

struct Table {
    /// How many are kept.
    keep: usize,
    touched: u64,
    samples: HashMap<WorkerId, (u64, Sample)>,
    order: BTreeMap<u64, WorkerId>,
}

impl Default for Table {
    fn default() -> Self {
        let keep = SamplingSettings::default().keep;
        Self { keep, touched: 0, samples: HashMap::new(), order: BTreeMap::new() }
    }
}

/// One measure of a worker: its name, its unit, what it means, where it stands.
type Measure = (&'static str, Unit, &'static str, fn(&Sample) -> Option<f64>);

/// Whole numbers beyond 2⁵³ lose their last digits: no measure needs them.
#[allow(clippy::cast_precision_loss)]
fn number(value: u64) -> f64 {
    value as f64
}

macro_rules! stat {
    ($field:ident) => {
        |sample| sample.stats.as_ref()?.$field.map(number)
    };
}

static MEASURES: [Measure; 13] = [
    (names::CPU, Unit::Seconds, "Processor time since the run began.", |sample| {
        Some(sample.stats.as_ref()?.cpu_time?.as_secs_f64())
    }),
    (names::CPU_USAGE, Unit::Count, "Cores in use on average of late.", |sample| {
        Some(number(sample.stats.as_ref()?.cpu_nanocores?) / 1e9)
    }),
    (names::CPU_REQUEST, Unit::Count, "Cores that are set aside.", |sample| {
        Some(number(sample.stats.as_ref()?.cpu_request?.nanos()) / 1e9)
    }),
    (names::MEMORY, Unit::Bytes, "Memory in use.", stat!(memory)),
    (names::MEMORY_REQUEST, Unit::Bytes, "Memory that is set aside.", stat!(memory_request)),
    (names::MEMORY_LIMIT, Unit::Bytes, "Memory that may be used.", stat!(memory_limit)),
    (names::PIDS, Unit::Count, "Processes and threads.", stat!(pids)),
    (names::DISK_READ, Unit::Bytes, "Read from disks since the run began.", stat!(disk_read)),
    (names::DISK_WRITTEN, Unit::Bytes, "Written to disks since the run began.", stat!(disk_written)),
    (names::NETWORK_RECEIVED, Unit::Bytes, "Received since the run began.", stat!(network_received)),
    (names::NETWORK_SENT, Unit::Bytes, "Sent since the run began.", stat!(network_sent)),
    (names::REACHABLE, Unit::Count, "Whether the last probe over the network was answered.", |sample| {
        sample.reachable.map(|reachable| f64::from(u8::from(reachable)))
    }),
    (names::RESPONSE, Unit::Seconds, "How long the last answered probe took.", |sample| {
        sample.response.map(|response| response.as_secs_f64())
    }),
];

pub(super) fn described() -> impl Iterator<Item = (&'static str, Unit, &'static str)> {
    MEASURES.iter().map(|(name, unit, text, _)| (*name, *unit, *text))
}

impl Samples {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps so many from now on.
    pub(super) fn keep(&self, keep: usize) {
        self.table().keep = keep;
    }

    /// Changes what is known of a worker.
    pub(super) fn change(
        &self,
        worker: &WorkerId,
        provider: &ProviderName,
        worker_type: Option<&GroupRef>,
        change: impl FnOnce(&mut Sample),
    ) {
        let mut table = self.table();
        table.touched += 1;
        let touched = table.touched;
        let (before, sample) = table.samples.entry(worker.clone()).or_insert_with(|| {
            let (provider, worker_type) = (provider.clone(), worker_type.cloned());
            (0, Sample { provider, worker_type, stats: None, reachable: None, response: None })
        });
        if sample.provider != *provider {
            sample.provider = provider.clone();
        }
        change(sample);
        let before = std::mem::replace(before, touched);
        table.order.remove(&before);
        table.order.insert(touched, worker.clone());
        if table.samples.len() > table.keep
            && let Some((_, oldest)) = table.order.pop_first()
        {
            table.samples.remove(&oldest);
        }
    }

    /// Nothing is known of that worker any more.
    pub fn forget(&self, worker: &WorkerId) {
        let mut table = self.table();
        if let Some((touched, _)) = table.samples.remove(worker) {
            table.order.remove(&touched);
        }
    }

    /// The last that was measured of that worker.
    pub fn get(&self, worker: &WorkerId) -> Option<Sample> {
        self.table().samples.get(worker).map(|(_, sample)| sample.clone())
    }

    /// How many workers it has.
    pub fn len(&self) -> usize {
        self.table().samples.len()
    }
    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Each measurement by name, in the order of the names.
    pub fn for_each(&self, mut each: impl FnMut(&'static str, &WorkerId, &Sample, f64)) {
        let table = self.table();
        for (name, _, _, value) in &MEASURES {
            for (worker, (_, sample)) in &table.samples {
                if let Some(value) = value(sample) {
                    each(name, worker, sample, value);
                }
            }
        }
    }

    /// The measurements of that name.
    #[cfg(feature = "opentelemetry")]
    pub(super) fn of(&self, name: &str, mut each: impl FnMut(&WorkerId, &Sample, f64)) {
        let table = self.table();
        let Some((_, _, _, value)) = MEASURES.iter().find(|(known, ..)| *known == name) else { return };
        for (worker, (_, sample)) in &table.samples {
            if let Some(value) = value(sample) {
                each(worker, sample, value);
            }
        }
    }

    /// Hands them to the recorder of the `metrics` facade: for recorders that are not of this crate. They must forget
    /// what is not told for long by themselves, or their memory grows with every worker that ever was.
    pub fn record(&self) {
        self.for_each(|name, worker, sample, value| {
            metrics::gauge!(
                name,
                names::PROVIDER => sample.provider.to_string(),
                names::WORKER => worker.to_string(),
                names::WORKER_TYPE => worker_type(sample).to_owned(),
            )
            .set(value);
        });
    }
}

pub(super) fn worker_type(sample: &Sample) -> &str {
    sample.worker_type.as_ref().map_or("", GroupRef::as_str)
}

impl fmt::Debug for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Samples").field("workers", &self.len()).finish_non_exhaustive()
    }
}
