//! What telemetry leaves out while it costs more than its budget: in a declared order, and never an event.

use std::sync::atomic::{AtomicU8, Ordering};
use weir_event::degradation::Level;

/// The level that workers look at.
#[derive(Debug, Default)]
pub struct Degradation(AtomicU8);

impl Degradation {
    #[inline]
    pub fn level(&self) -> Level {
        Level::ALL[usize::from(self.0.load(Ordering::Relaxed) & 3)]
    }

    pub fn set(&self, level: Level) {
        self.0.store(level as u8, Ordering::Relaxed);
    }
}

/// For how many looks in a row the cost must be well below the budget before more is made again.
const CALM: u32 = 10;
/// What is well below the budget.
const WELL_BELOW: f64 = 0.7;

/// Decides of the level, look by look.
#[derive(Debug, Default)]
pub struct Governor {
    level: Level,
    calm: u32,
}

impl Governor {
    /// `share` is what telemetry took of the processor time since the last look, `budget` what it may; both from 0 to 1.
    /// Answers the level from now on.
    pub fn look(&mut self, share: f64, budget: f64) -> Level {
        let at = Level::ALL.iter().position(|level| *level == self.level).unwrap_or_default();
        self.calm = if share <= budget * WELL_BELOW { self.calm + 1 } else { 0 };
        let next = if share > budget {
            at + 1
        } else if self.calm >= CALM {
            self.calm = 0;
            at.saturating_sub(1)
        } else {
            at
        };
        self.level = Level::ALL[next.min(Level::ALL.len() - 1)];
        self.level
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_up_at_once_and_down_when_it_is_calm() {
        let mut governor = Governor::default();
        let up: Vec<_> = (0..4).map(|_| governor.look(0.06, 0.05)).collect();
        assert_eq!(up, [Level::Attributes, Level::ClientSpans, Level::SampledSpans, Level::SampledSpans]);
        // Between the two bounds it stays.
        assert!((0..50).all(|_| governor.look(0.04, 0.05) == Level::SampledSpans));
        let down: Vec<_> = (0..30).map(|_| governor.look(0.01, 0.05)).collect();
        assert_eq!(
            (down[8], down[9], down[18], down[19]),
            (Level::SampledSpans, Level::ClientSpans, Level::ClientSpans, Level::Attributes)
        );
        assert_eq!(down[29], Level::Nothing);
        assert_eq!(governor.look(0.2, 0.05), Level::Attributes);
    }
}
