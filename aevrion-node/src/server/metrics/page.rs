//! A page of metrics in the text format that Prometheus reads.

use std::fmt::{Display, Write};

/// The page as far as it is written.
#[derive(Default)]
pub(super) struct Page(String);

impl Page {
    pub(super) fn metric(&mut self, name: &str, kind: &str, help: &str, samples: &[(String, impl Display)]) {
        // Writing to a string does not fail.
        let _ = write!(self.0, "# HELP aevrion_{name} {help}\n# TYPE aevrion_{name} {kind}\n");
        for (labels, value) in samples {
            let _ = writeln!(self.0, "aevrion_{name}{labels} {value}");
        }
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.metric(name, "gauge", help, &[(String::new(), value)]);
    }

    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.metric(name, "counter", help, &[(String::new(), value)]);
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }
}
