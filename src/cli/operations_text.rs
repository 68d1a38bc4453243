//! The operations of a plan as text for people: what is removed first, and what many have in common as one line.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::controller::report::OperationStatus;

/// How many lines are printed before the rest is counted.
const SHOWN: usize = 40;

/// So many operations of one shape are one line.
const ALIKE: usize = 4;

/// How many of those that are alike are named.
const NAMED: usize = 3;

/// Prints operations: deletions, creations, updates.
pub(super) fn operations(out: &mut String, operations: &[OperationStatus]) {
    let _ = writeln!(out, "  operations:");
    let mut lines = Vec::new();
    for effect in ["delete", "create", "update"] {
        group(&mut lines, effect, operations.iter().filter(|operation| &*operation.effect == effect));
    }
    let known = |operation: &&OperationStatus| !["delete", "create", "update"].contains(&&*operation.effect);
    for operation in operations.iter().filter(known) {
        single(&mut lines, operation);
    }
    for line in lines.iter().take(SHOWN) {
        let _ = writeln!(out, "    {line}");
    }
    if lines.len() > SHOWN {
        let _ = writeln!(out, "    … and {} more lines; --output json lists every operation", lines.len() - SHOWN);
    }
}

fn group<'a>(lines: &mut Vec<String>, effect: &str, operations: impl Iterator<Item = &'a OperationStatus>) {
    let mut shapes: BTreeMap<&str, Vec<&OperationStatus>> = BTreeMap::new();
    let mut alone = Vec::new();
    for operation in operations {
        match &operation.shape {
            Some(shape) => shapes.entry(shape).or_default().push(operation),
            None => alone.push(operation),
        }
    }
    let mut shapes: Vec<_> = shapes.into_iter().collect();
    shapes.sort_by_key(|(_, alike)| std::cmp::Reverse(alike.len()));
    for (shape, alike) in shapes {
        if alike.len() < ALIKE {
            alone.extend(alike);
            continue;
        }
        lines.push(format!("{effect:<6} {} alike:  {shape}", alike.len()));
        let names: Vec<&str> = alike.iter().take(NAMED).map(|operation| &*operation.resource).collect();
        lines.push(format!("       {} … and {} more", names.join(", "), alike.len() - names.len()));
    }
    alone.sort_by(|a, b| a.resource.cmp(&b.resource));
    alone.into_iter().for_each(|operation| single(lines, operation));
}

fn single(lines: &mut Vec<String>, operation: &OperationStatus) {
    lines.push(format!("{:<6} {}", operation.effect, operation.resource));
    for change in operation.diff.iter().take(5) {
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "(none)".to_owned());
        lines.push(format!("         {}  {} -> {}", change.path, value(&change.old), value(&change.new)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(resource: &str, effect: &str, shape: Option<&str>) -> OperationStatus {
        OperationStatus {
            resource: resource.into(),
            effect: effect.into(),
            class: "plain".into(),
            shape: shape.map(Into::into),
            diff: Vec::new(),
        }
    }

    #[test]
    fn what_is_removed_comes_first_and_what_is_alike_is_one_line() {
        let alike = (0..60).map(|n| operation(&format!("h{n:02}.conf"), "update", Some("*.conf  /a  1 -> 2")));
        let mut all: Vec<_> = alike.collect();
        all.push(operation("odd.conf", "update", Some("*.conf  /b  1 -> 2")));
        all.push(operation("new.conf", "create", None));
        all.push(operation("zz.conf", "delete", None));
        let mut out = String::new();
        operations(&mut out, &all);
        let expected = "  operations:
    delete zz.conf
    create new.conf
    update 60 alike:  *.conf  /a  1 -> 2
           h00.conf, h01.conf, h02.conf … and 57 more
    update odd.conf
";
        assert_eq!(out, expected);
    }

    #[test]
    fn a_long_list_is_counted_and_never_cut_silently() {
        let all: Vec<_> = (0..50).map(|n| operation(&format!("h{n:02}.conf"), "delete", None)).collect();
        let mut out = String::new();
        operations(&mut out, &all);
        assert!(out.contains("h39.conf") && !out.contains("h40.conf") && out.contains("and 10 more lines"), "{out}");
    }
}
