//! The operations of a plan as text for people: what is removed first, and what many have in common as one line.

use std::collections::BTreeMap;

use super::OperationStatus;

/// So many operations of one shape are one line.
const ALIKE: usize = 4;

/// How many of those that are alike are named.
const NAMED: usize = 3;

/// Lists operations: deletions, creations, updates; with the values inside them, or with the places alone.
///
/// Of more lines than `most` the rest is counted.
pub fn lines(operations: &[OperationStatus], values: bool, most: usize) -> Vec<String> {
    let mut lines = Lines { list: Vec::new(), values };
    for effect in ["delete", "create", "update"] {
        lines.group(effect, operations.iter().filter(|operation| &*operation.effect == effect));
    }
    let known = |operation: &&OperationStatus| !["delete", "create", "update"].contains(&&*operation.effect);
    operations.iter().filter(known).for_each(|operation| lines.single(operation));
    let mut list = lines.list;
    if list.len() > most {
        let rest = list.len() - most;
        list.truncate(most);
        list.push(format!("… and {rest} more lines; --output json lists every operation"));
    }
    list
}

struct Lines {
    list: Vec<String>,
    values: bool,
}

impl Lines {
    fn group<'a>(&mut self, effect: &str, operations: impl Iterator<Item = &'a OperationStatus>) {
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
            // A shape tells values too.
            let shape = if self.values { shape } else { "one shape" };
            self.list.push(format!("{effect:<6} {} alike:  {shape}", alike.len()));
            let names: Vec<&str> = alike.iter().take(NAMED).map(|operation| &*operation.resource).collect();
            self.list.push(format!("       {} … and {} more", names.join(", "), alike.len() - names.len()));
        }
        alone.sort_by(|a, b| a.resource.cmp(&b.resource));
        alone.into_iter().for_each(|operation| self.single(operation));
    }

    fn single(&mut self, operation: &OperationStatus) {
        self.list.push(format!("{:<6} {}", operation.effect, operation.resource));
        for change in operation.diff.iter().take(5) {
            let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "(none)".to_owned());
            self.list.push(match self.values {
                true => format!("         {}  {} -> {}", change.path, value(&change.old), value(&change.new)),
                false => format!("         {}", change.path),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::resource::FieldChange;

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
        let expected = [
            "delete zz.conf",
            "create new.conf",
            "update 60 alike:  *.conf  /a  1 -> 2",
            "       h00.conf, h01.conf, h02.conf … and 57 more",
            "update odd.conf",
        ];
        assert_eq!(lines(&all, true, 40), expected);
    }

    #[test]
    fn a_long_list_is_counted_and_never_cut_silently() {
        let all: Vec<_> = (0..50).map(|n| operation(&format!("h{n:02}.conf"), "delete", None)).collect();
        let listed = lines(&all, true, 40);
        assert_eq!((listed.len(), listed[39].as_str()), (41, "delete h39.conf"));
        assert!(listed[40].contains("and 10 more lines"), "{}", listed[40]);
    }

    #[test]
    fn values_are_left_out_where_they_must_not_be_seen() {
        let mut one = operation("a.conf", "update", Some("*.conf  /key  hunter1 -> hunter2"));
        one.diff = vec![FieldChange {
            path: "/key".to_owned(),
            old: Some("hunter1".to_owned()),
            new: Some("hunter2".to_owned()),
        }];
        let four = vec![one.clone(), one.clone(), one.clone(), one.clone()];
        assert!(!lines(&four, false, 40).concat().contains("hunter"));
        assert_eq!(lines(&[one], false, 40), ["update a.conf", "         /key"]);
    }
}
