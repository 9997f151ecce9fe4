//! Callsites of children, as callsites of this process: made known to `tracing` once and for ever, as it demands.
//!
//! A filter decides about a callsite, and caches what it decided, so a record from a child needs one with its own
//! target, level and fields. There are at most [`CALLSITES_MAX`]; the records of any further share ten of ours.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{LazyLock, OnceLock};

use parking_lot::Mutex;
use tracing::field::{Field, FieldSet};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Metadata, dispatcher};
use tracing_core::callsite::{self, Callsite};
use tracing_core::identify_callsite;
use tracing_core::metadata::Kind;

use super::wire::{CALLSITES_MAX, Described, NAME, PID, level_of};

/// The target of records whose own callsites are too many, and of what this module itself has to say.
pub(super) const OWN_TARGET: &str = "procession_launch::logs";

/// A callsite of some child's.
pub(super) struct Site {
    metadata: OnceLock<Metadata<'static>>,
    fields: OnceLock<Vec<Field>>,
    interest: AtomicU8,
    /// True when the child's own fields say whose it is.
    says_whose: bool,
}

/// How a callsite of a child is shown here.
#[derive(Clone)]
pub(super) enum Shown {
    /// As itself.
    As(&'static Site),
    /// As text, at one of ours.
    InText(&'static Site, Box<Described>),
}

const NEVER: u8 = 0;
const SOMETIMES: u8 = 1;
const ALWAYS: u8 = 2;

static SITES: LazyLock<Mutex<HashMap<Described, &'static Site>>> = LazyLock::new(Mutex::default);

/// How a child's callsite is shown, which must keep to the limits.
pub(super) fn shown(described: Described) -> Shown {
    match intern(&described, CALLSITES_MAX) {
        Some(site) => Shown::As(site),
        None => in_text(described),
    }
}

/// As text, at one of ours.
pub(super) fn in_text(described: Described) -> Shown {
    Shown::InText(fallback(&described), Box::new(described))
}

/// The callsite that shows this one, unless there are so many already.
fn intern(described: &Described, callsites_max: usize) -> Option<&'static Site> {
    let mut sites = SITES.lock();
    if let Some(site) = sites.get(described) {
        return Some(site);
    }
    if sites.len() >= callsites_max {
        return None;
    }
    let site = Site::leak(described)?;
    sites.insert(described.clone(), site);
    drop(sites); // A subscriber that is asked about it may log itself.
    callsite::register(site);
    Some(site)
}

/// The one of ours for what cannot be shown as itself.
fn fallback(described: &Described) -> &'static Site {
    static FALLBACKS: LazyLock<Vec<(bool, u8, &'static Site)>> = LazyLock::new(|| {
        let all = [false, true].into_iter().flat_map(|is_span| (1..=5).map(move |level| (is_span, level)));
        let sites = all.filter_map(|(is_span, level)| Some((is_span, level, Site::leak(&plain(is_span, level))?)));
        sites.inspect(|(_, _, site)| callsite::register(*site)).collect()
    });
    let fits = |&&(is_span, level, _): &&(bool, u8, _)| (is_span, level) == (described.is_span, described.level);
    let (_, _, site) = FALLBACKS.iter().find(fits).unwrap_or(&FALLBACKS[0]);
    site
}

/// A callsite whose only field is text.
fn plain(is_span: bool, level: u8) -> Described {
    Described {
        is_span,
        level,
        name: "further callsites".to_owned(),
        target: OWN_TARGET.to_owned(),
        module: None,
        file: None,
        line: None,
        fields: vec!["message".to_owned()],
    }
}

impl Site {
    /// A new one that lives for ever.
    fn leak(described: &Described) -> Option<&'static Self> {
        let level = level_of(described.level)?;
        let site: &'static Self = Box::leak(Box::new(Self {
            metadata: OnceLock::new(),
            fields: OnceLock::new(),
            interest: AtomicU8::new(SOMETIMES),
            says_whose: described.says_whose(),
        }));
        let own = if site.says_whose { &[][..] } else { &[PID, NAME] };
        let names: Vec<&'static str> =
            described.fields.iter().map(|name| leak(name)).chain(own.iter().copied()).collect();
        let metadata = site.metadata.get_or_init(|| {
            Metadata::new(
                leak(&described.name),
                leak(&described.target),
                level,
                described.file.as_deref().map(leak),
                described.line,
                described.module.as_deref().map(leak),
                FieldSet::new(Vec::leak(names), identify_callsite!(site)),
                if described.is_span { Kind::SPAN } else { Kind::EVENT },
            )
        });
        site.fields.get_or_init(|| metadata.fields().iter().collect());
        Some(site)
    }

    /// What filters look at.
    pub(super) fn metadata(&'static self) -> &'static Metadata<'static> {
        let Some(metadata) = self.metadata.get() else { unreachable!("it is set before anybody has the callsite") };
        metadata
    }

    /// Its fields, those of the child first.
    pub(super) fn fields(&'static self) -> &'static [Field] {
        self.fields.get().map(Vec::as_slice).unwrap_or_default()
    }

    /// How many of them are the child's own.
    pub(super) fn childs_fields(&'static self) -> usize {
        self.fields().len() - if self.says_whose { 0 } else { 2 }
    }

    /// Whether its records say themselves whose they are.
    pub(super) fn says_whose(&'static self) -> bool {
        self.says_whose
    }

    /// Whether the current subscriber wants it: what the macros of `tracing` ask.
    pub(super) fn is_enabled(&'static self) -> bool {
        let metadata = self.metadata();
        if *metadata.level() > LevelFilter::current() {
            return false;
        }
        match self.interest.load(Ordering::Relaxed) {
            NEVER => false,
            ALWAYS => true,
            _ => dispatcher::get_default(|current| current.enabled(metadata)),
        }
    }
}

impl Callsite for Site {
    fn set_interest(&self, interest: Interest) {
        let number = if interest.is_never() {
            NEVER
        } else if interest.is_always() {
            ALWAYS
        } else {
            SOMETIMES
        };
        self.interest.store(number, Ordering::Relaxed);
    }

    fn metadata(&self) -> &Metadata<'_> {
        let Some(metadata) = self.metadata.get() else { unreachable!("it is set before anybody has the callsite") };
        metadata
    }
}

/// Text that lives for ever.
fn leak(text: &str) -> &'static str {
    Box::leak(text.to_owned().into_boxed_str())
}

#[cfg(test)]
mod tests {
    use super::super::wire::number_of;
    use super::*;

    #[test]
    fn the_same_description_is_one_callsite_and_too_many_share_ours() {
        let mut described = plain(true, 3);
        described.name = "a test's".to_owned();
        described.fields = vec!["a".to_owned()];
        let first = intern(&described, CALLSITES_MAX).unwrap();
        assert!(std::ptr::eq(first, intern(&described, 0).unwrap()));
        let names: Vec<&str> = first.fields().iter().map(Field::name).collect();
        assert_eq!(names, ["a", PID, NAME]);
        assert!(first.metadata().is_span());
        described.line = Some(1);
        assert!(intern(&described, 0).is_none());
        let ours = fallback(&described);
        assert_eq!((ours.metadata().target(), number_of(*ours.metadata().level())), (OWN_TARGET, 3));
        assert!(ours.metadata().is_span());
    }
}
