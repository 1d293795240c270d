//! An output of logs while the settings are read: its receiver may be one that only the variables name.

use crate::logging::{LineFormat, LogOutput, LogTarget};
use crate::otel::ExportDraft;

/// An output before it is known what the variables say of its receiver.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct OutputDraft {
    pub name: String,
    pub target: TargetDraft,
    pub format: LineFormat,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum TargetDraft {
    Known(LogTarget),
    Otlp(Box<ExportDraft>),
}

impl From<LogOutput> for OutputDraft {
    fn from(LogOutput { name, target, format }: LogOutput) -> Self {
        let target = match target {
            LogTarget::Otlp(export) => TargetDraft::Otlp(Box::new(export.target.into())),
            known => TargetDraft::Known(known),
        };
        Self { name, target, format }
    }
}
