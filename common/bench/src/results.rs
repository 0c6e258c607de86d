//! All that was measured.

use serde_json::{Value, json};

use crate::figures::Figures;
use crate::systems::System;
use crate::work::Work;

/// What was measured.
pub(crate) struct Results {
    pub(crate) systems: Vec<System>,
    /// For each work, what each system did; `None` where it cannot, or failed.
    pub(crate) works: Vec<(Work, Vec<Option<Figures>>)>,
    /// When, where and how, in a line.
    pub(crate) setting: String,
}

/// A machine is quiet if others use no more of its processors.
const QUIET_PROCESSORS: f64 = 0.1;

/// Says so, if others used the machine meanwhile: so many processors each time.
pub(crate) fn disturbance(foreign: &[f64]) -> String {
    let mean = foreign.iter().sum::<f64>() / foreign.len().max(1) as f64;
    if mean <= QUIET_PROCESSORS {
        return String::new();
    }
    format!("; others used {mean:.1} processors meanwhile, so this is worth little")
}

impl Results {
    /// Says so, if others used the machine meanwhile.
    pub(crate) fn disturbance(&self) -> String {
        let all = self.works.iter().flat_map(|(_, all)| all.iter().flatten());
        disturbance(&all.map(|one| one.foreign).collect::<Vec<_>>())
    }

    /// Tells all of it to programs.
    pub(crate) fn json(&self) -> Value {
        let works = self.works.iter().map(|(work, all)| {
            let systems = self.systems.iter().zip(all);
            let systems = systems.filter_map(|(system, figures)| {
                Some((system.name.to_owned(), figures.as_ref()?.json()))
            });
            json!({ "work": work.json(), "systems": systems.collect::<serde_json::Map<_, _>>() })
        });
        json!({
            "setting": self.setting,
            "systems": self.systems.iter().map(System::json).collect::<Vec<_>>(),
            "works": works.collect::<Vec<_>>(),
        })
    }
}
