//! The one time at which the supervisor wants to be woken.
//!
//! An alarm is only ever moved to an earlier time: one that has lost its cause rings once in vain, which costs less than
//! moving it with every task. When it has rung, whoever still waits for a time asks for it anew.

use std::time::Duration;

#[derive(Clone, Debug, Default)]
#[cfg_attr(test, derive(PartialEq, Eq, Hash))]
pub(super) struct Alarm {
    /// What the engine was told.
    told: Option<Duration>,
    /// The earliest time that was asked for since.
    wanted: Option<Duration>,
}

impl Alarm {
    /// Asks to be woken at that time at the latest.
    pub(super) fn want(&mut self, at: Duration) {
        if self.wanted.is_none_or(|wanted| at < wanted) {
            self.wanted = Some(at);
        }
    }

    /// It has rung, if its time has come.
    pub(super) fn ring(&mut self, now: Duration) {
        if self.told.is_some_and(|told| told <= now) {
            self.told = None;
        }
    }

    /// What the engine is to be told, if that has changed.
    pub(super) fn news(&mut self) -> Option<Duration> {
        let wanted = self.wanted.take()?;
        if self.told.is_some_and(|told| told <= wanted) {
            return None;
        }
        self.told = Some(wanted);
        self.told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(time: u64) -> Duration {
        Duration::from_millis(time)
    }

    #[test]
    fn an_alarm_is_told_once_and_moved_only_to_an_earlier_time() {
        let mut alarm = Alarm::default();
        assert_eq!(alarm.news(), None);
        alarm.want(ms(7));
        alarm.want(ms(5));
        alarm.want(ms(6));
        assert_eq!(alarm.news(), Some(ms(5)));
        alarm.want(ms(6));
        assert_eq!(alarm.news(), None);
        alarm.want(ms(3));
        assert_eq!(alarm.news(), Some(ms(3)));
    }

    #[test]
    fn who_still_waits_when_it_has_rung_asks_anew() {
        let mut alarm = Alarm::default();
        alarm.want(ms(5));
        assert_eq!(alarm.news(), Some(ms(5)));
        // Too early: what was told stands.
        alarm.ring(ms(4));
        alarm.want(ms(9));
        assert_eq!(alarm.news(), None);
        alarm.ring(ms(5));
        alarm.want(ms(9));
        assert_eq!(alarm.news(), Some(ms(9)));
    }
}
