//! Guards and drift: what was written over the defaults of `GUARDS.md` 8.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Scope;
use crate::config::raw::{
    NumberOrDisabled, RawBackoff, RawDrift, RawDriftPolicy, RawDriftWord, RawEmptyDesired, RawEscalate,
    RawEscalateOptions, RawFleet, RawGroups, RawGroupsParts, RawGrowth, RawGrowthParts, RawGuards, RawIgnore, RawLimit,
    RawLimitParts, RawOnPoison, RawRate, RawRateParts, RawWindow, RawWindowParts, RawWindows,
};
use crate::core::guards::{
    DriftPolicies, DriftPolicy, FleetGuards, Groups, Growth, Guards, Ignore, Limit, ObserveFor, OnPoison, Rate,
};

/// Fills `base` with what was written.
pub(super) fn guards(scope: &Scope<'_>, raw: &RawGuards, base: Guards) -> Guards {
    let RawGuards {
        delete_halt,
        change_halt,
        bump_halt,
        growth_halt,
        group_halt,
        drift_halt,
        empty_desired,
        protected,
        protected_defaults,
        window,
        write_cap,
        delete_cap,
        rate,
        backoff,
        failures,
        fight,
        settle,
        approval_ttl,
        on_poison,
        observe_for,
        local_approval,
        solo,
    } = raw;
    let limit_of = |name: &str, raw: &Option<RawLimit>, default: Limit| {
        raw.as_ref().map_or(default, |raw| limit(&scope.key(name), raw, default))
    };
    let (window_deletes, window_changes) =
        window.as_ref().map_or((base.window_deletes.clone(), base.window_changes.clone()), |raw| {
            window_of(&scope.key("window"), raw, &base)
        });
    let (backoff_initial, backoff_max) = backoff
        .as_ref()
        .map_or((base.backoff_initial, base.backoff_max), |raw| backoff_of(&scope.key("backoff"), raw, &base));
    Guards {
        mode: base.mode,
        interval: base.interval,
        empty_desired_halts: empty_desired
            .map_or(base.empty_desired_halts, |empty| matches!(empty, RawEmptyDesired::Halt)),
        delete_halt: limit_of("deleteHalt", delete_halt, base.delete_halt),
        change_halt: limit_of("changeHalt", change_halt, base.change_halt),
        bump_halt: limit_of("bumpHalt", bump_halt, base.bump_halt),
        growth_halt: growth_halt.as_ref().map_or(base.growth_halt, growth),
        group_halt: group_halt.as_ref().map_or(base.group_halt, groups),
        drift_halt: limit_of("driftHalt", drift_halt, base.drift_halt),
        protected: globs(&scope.key("protected"), protected.as_deref().unwrap_or_default()),
        protected_defaults: protected_defaults.unwrap_or(base.protected_defaults),
        window_deletes,
        window_changes,
        write_cap: limit_of("writeCap", write_cap, base.write_cap),
        delete_cap: limit_of("deleteCap", delete_cap, base.delete_cap),
        rate: rate.as_ref().map(rate_of).or(base.rate),
        backoff_initial,
        backoff_max,
        failures: failures.unwrap_or(base.failures),
        fight: fight.as_ref().map_or(base.fight.clone(), |raw| fights(&scope.key("fight"), raw, &base.fight)),
        settle: scope.duration_or("settle", settle.as_ref(), base.settle),
        approval_ttl: scope.duration_or("approvalTtl", approval_ttl.as_ref(), base.approval_ttl),
        on_poison: on_poison.map_or(base.on_poison, |raw| match raw {
            RawOnPoison::Hold => OnPoison::Hold,
            RawOnPoison::LastGood => OnPoison::LastGood,
        }),
        observe_for: observe_for
            .as_ref()
            .and_then(|text| observe_for_of(&scope.key("observeFor"), text))
            .unwrap_or(base.observe_for),
        local_approval: local_approval.unwrap_or(base.local_approval),
        solo: solo.unwrap_or(base.solo),
        spare_undeclared: base.spare_undeclared,
        drift: base.drift,
    }
}

/// Reads a limit; parts that are not written are the default's.
fn limit(scope: &Scope<'_>, raw: &RawLimit, default: Limit) -> Limit {
    let RawLimitParts { over, percent, at_most } = match raw {
        RawLimit::Fixed(fixed) => return Limit::Fixed(*fixed),
        RawLimit::Off(_) => return Limit::Disabled,
        RawLimit::Parts(parts) => parts,
    };
    // Every default is relative; a default that is not has no parts to take.
    let (default_over, default_percent, default_most) = match default {
        Limit::Relative { over, percent, at_most } => (over, percent, at_most),
        Limit::Fixed(_) | Limit::Disabled => (0, 0, None),
    };
    let percent_value = percent.unwrap_or(default_percent);
    if percent_value > 100 {
        scope
            .key("percent")
            .error(format!("{percent_value} is more than 100"), "write at most 100; off is written `disabled`");
    }
    let over_value = over.unwrap_or(default_over);
    let most = match at_most {
        None => default_most,
        Some(NumberOrDisabled::Number(number)) => Some(*number),
        Some(NumberOrDisabled::Off(_)) => None,
    };
    if let Some(most) = most.filter(|&most| over_value > most && percent_value > 0) {
        let whose = if at_most.is_none() { " (its default)" } else { "" };
        scope.error(
            format!("`over` is {over_value}, and `atMost` is {most}{whose}: {most} is all there would ever be"),
            "raise `atMost` too, or write `atMost: disabled`",
        );
    }
    Limit::Relative { over: over_value, percent: percent_value, at_most: most }
}

fn growth(raw: &RawGrowth) -> Option<Growth> {
    let RawGrowth::Parts(RawGrowthParts { factor, from, creates }) = raw else { return None };
    let default = Guards::default().growth_halt?;
    Some(Growth {
        factor: factor.unwrap_or(default.factor),
        from: from.unwrap_or(default.from),
        creates: creates.unwrap_or(default.creates),
    })
}

fn groups(raw: &RawGroups) -> Option<Groups> {
    let RawGroups::Parts(RawGroupsParts { groups, from }) = raw else { return None };
    let default = Guards::default().group_halt?;
    Some(Groups { groups: groups.unwrap_or(default.groups), from: from.unwrap_or(default.from) })
}

/// The target's own default of `GUARDS.md` 8 for Kubernetes and exec, from which a part that is not written is taken.
pub(super) const RATE: Rate = Rate { per_second: 5, burst: 10 };

fn rate_of(raw: &RawRate) -> Option<Rate> {
    let RawRate::Parts(RawRateParts { per_second, burst }) = raw else { return None };
    Some(Rate { per_second: per_second.unwrap_or(RATE.per_second), burst: burst.unwrap_or(RATE.burst) })
}

type Windows = BTreeMap<Duration, u32>;

fn window_of(scope: &Scope<'_>, raw: &RawWindow, base: &Guards) -> (Windows, Windows) {
    let RawWindow::Parts(RawWindowParts { deletes, changes }) = raw else { return (Windows::new(), Windows::new()) };
    let read = |name: &str, raw: &Option<RawWindows>, default: &Windows| {
        raw.as_ref().map_or(default.clone(), |raw| windows(&scope.key(name), raw, default))
    };
    (read("deletes", deletes, &base.window_deletes), read("changes", changes, &base.window_changes))
}

/// Reads windows over their defaults: only `disabled` takes one out, so that adding a window never drops another.
fn windows(scope: &Scope<'_>, raw: &RawWindows, default: &Windows) -> Windows {
    let RawWindows::Windows(written) = raw else { return Windows::new() };
    let mut windows = default.clone();
    for (length, number) in written {
        let scope = scope.key(length);
        match scope.duration_text(length) {
            None => {}
            Some(length) if length.is_zero() => scope.error("a window of zero", "write a length of at least `1s`"),
            Some(length) => {
                match number {
                    NumberOrDisabled::Number(number) => windows.insert(length, *number),
                    NumberOrDisabled::Off(_) => windows.remove(&length),
                };
            }
        }
    }
    windows
}

/// A resource that is quarantined before anything was reverted would never be written at all.
fn fights(scope: &Scope<'_>, raw: &RawWindows, default: &Windows) -> Windows {
    if let RawWindows::Windows(written) = raw {
        for length in
            written.iter().filter(|(_, number)| matches!(number, NumberOrDisabled::Number(0))).map(|(length, _)| length)
        {
            let hint = "write at least 1, or `disabled`; to revert nothing, set `drift.missing` and `drift.routine` to `escalate`";
            scope.key(length).error("a fight takes at least one revert", hint);
        }
    }
    windows(scope, raw, default)
}

fn backoff_of(scope: &Scope<'_>, raw: &RawBackoff, base: &Guards) -> (Duration, Duration) {
    let RawBackoff { initial, max } = raw;
    let first = scope.nonzero_or("initial", initial.as_ref(), base.backoff_initial);
    let longest = scope.nonzero_or("max", max.as_ref(), base.backoff_max);
    if first > longest {
        let (name, hint) =
            if initial.is_some() { ("initial", "raise `max` too") } else { ("max", "lower `initial` too") };
        scope.key(name).error("`initial` is longer than `max`", hint);
    }
    (first, longest)
}

fn observe_for_of(scope: &Scope<'_>, text: &str) -> Option<ObserveFor> {
    let cycles = text.strip_suffix("cycles").or_else(|| text.strip_suffix("cycle")).map(str::trim_end);
    let read = match cycles {
        Some(number) => match number.parse() {
            Ok(number) => ObserveFor::Cycles(number),
            Err(_) => {
                scope.error(
                    format!("`{text}` is no number of cycles"),
                    "write `1 cycle`, `2 cycles`, or a duration such as `1h`",
                );
                return None;
            }
        },
        None => ObserveFor::Time(scope.duration_text(text)?),
    };
    if matches!(read, ObserveFor::Cycles(0)) || read == ObserveFor::Time(Duration::ZERO) {
        scope.error(
            "is zero, and at least one whole cycle is only observed",
            "write `1 cycle`: nothing is written before its report was kept",
        );
        return None;
    }
    Some(read)
}

/// Reads the answers to drift over their defaults.
pub(super) fn drift(scope: &Scope<'_>, raw: &RawDrift) -> DriftPolicies {
    let RawDrift { missing, tamper, emergency, routine, grace, ignore } = raw;
    let default = DriftPolicies::default();
    let policy = |name: &str, raw: &Option<RawDriftPolicy>, default: DriftPolicy| {
        raw.as_ref().map_or(default, |raw| drift_policy(&scope.key(name), raw))
    };
    let scope_ignore = scope.key("ignore");
    let ignored = ignore.iter().flatten().enumerate().map(|(at, raw)| ignored(&scope_ignore.index(at), raw));
    DriftPolicies {
        missing: policy("missing", missing, default.missing),
        tamper: policy("tamper", tamper, default.tamper),
        emergency: policy("emergency", emergency, default.emergency),
        routine: policy("routine", routine, default.routine),
        grace: scope.duration_or("grace", grace.as_ref(), default.grace),
        ignore: ignored.collect(),
    }
}

fn drift_policy(scope: &Scope<'_>, raw: &RawDriftPolicy) -> DriftPolicy {
    match raw {
        RawDriftPolicy::Word(RawDriftWord::Revert) => DriftPolicy::Revert,
        RawDriftPolicy::Word(RawDriftWord::Adopt) => DriftPolicy::Adopt,
        RawDriftPolicy::Word(RawDriftWord::Escalate) => DriftPolicy::Escalate { revert_after: None },
        RawDriftPolicy::Escalate(RawEscalate { escalate }) => {
            let RawEscalateOptions { revert_after } =
                escalate.as_ref().unwrap_or(&RawEscalateOptions { revert_after: None });
            let scope = scope.key("escalate").key("revertAfter");
            DriftPolicy::Escalate { revert_after: revert_after.as_ref().and_then(|raw| scope.duration(raw)) }
        }
    }
}

fn ignored(scope: &Scope<'_>, raw: &RawIgnore) -> Ignore {
    let RawIgnore { kind, resource, paths } = raw;
    if kind.is_none() && resource.is_none() {
        scope.error("would ignore all drift", "write which: `kind`, `resource`, or both");
    }
    for (name, text) in [("kind", kind), ("resource", resource)] {
        if text.as_deref() == Some("") {
            scope.key(name).error("is empty", "write a name, or take the line out");
        }
    }
    let paths: Vec<Arc<str>> = paths.iter().flatten().map(|path| Arc::from(path.as_str())).collect();
    for (at, path) in paths.iter().enumerate().filter(|(_, path)| !path.starts_with('/')) {
        scope
            .key("paths")
            .index(at)
            .error(format!("`{path}` is no JSON pointer"), "write it from the top, such as `/spec/replicas`");
    }
    Ignore { kind: kind.as_deref().map(Into::into), resource: resource.as_deref().map(Into::into), paths }
}

fn globs(scope: &Scope<'_>, written: &[String]) -> Vec<Arc<str>> {
    for (at, glob) in written.iter().enumerate().filter(|(_, glob)| glob.trim().is_empty()) {
        scope.index(at).error(format!("{glob:?} matches nothing"), "write a glob such as `sudoers*`, or take it out");
    }
    written.iter().map(|glob| glob.as_str().into()).collect()
}

/// Reads what all applications may do together over its defaults.
pub(super) fn fleet(scope: &Scope<'_>, raw: &RawFleet) -> FleetGuards {
    let RawFleet { change, delete } = raw;
    let default = FleetGuards::default();
    let read = |name: &str, raw: &Option<RawLimit>, default| {
        raw.as_ref().map_or(default, |raw| limit(&scope.key(name), raw, default))
    };
    FleetGuards { change: read("change", change, default.change), delete: read("delete", delete, default.delete) }
}
