//! What holdfast reads of a file is what kubectl reads of it, by kubectl's own library (`tests/servers/kubernetes/manifests`).
//!
//! Two readings that differ are a failure, whatever the file. Where one of the two refuses what the other reads, that is
//! written down here.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::parse::values;

/// What kubectl says of each file.
fn kubectl(files: &[Vec<u8>]) -> Vec<Result<Vec<Value>, String>> {
    let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/build");
    let built = Command::new(build).arg("manifests").output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let program = String::from_utf8(built.stdout).unwrap();
    let mut child =
        Command::new(program.trim()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it is built");
    let mut stdin = child.stdin.take().unwrap();
    let lines: String = files.iter().map(|file| STANDARD.encode(file) + "\n").collect();
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()).unwrap());
    let done = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(done.status.success(), "the reader failed");
    let said: Vec<Value> = String::from_utf8(done.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| json!({"objects": [null]})))
        .collect();
    assert_eq!(said.len(), files.len());
    let read = |mut said: Value| match said.get("error").and_then(Value::as_str) {
        Some(error) => Err(error.to_owned()),
        None => Ok(serde_json::from_value(said["objects"].take()).unwrap()),
    };
    said.into_iter().map(read).collect()
}

fn holdfast(file: &[u8]) -> Result<Vec<Value>, String> {
    let read = values(file).map_err(|error| error.to_string())?;
    Ok(read.into_iter().map(|(_, value)| value).collect())
}

/// How two numbers are written is nothing that they mean.
fn same(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => a == b,
            // Reading a large exponent back is good to one unit in the last place.
            _ => a.as_f64().zip(b.as_f64()).is_some_and(|(a, b)| (a - b).abs() <= a.abs() * f64::EPSILON),
        },
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}

/// How two readings of a file compare.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    /// Both read the same.
    Same,
    /// Neither reads it.
    BothRefuse,
    /// Only kubectl reads it.
    HoldfastRefuses,
    /// Only holdfast reads it.
    KubectlRefuses,
}
use Verdict::{BothRefuse, HoldfastRefuses, KubectlRefuses, Same};

/// Compares the readings of files, and fails where they are two different ones.
fn compare(files: &[String]) -> Vec<(Verdict, String)> {
    let bytes: Vec<Vec<u8>> = files.iter().map(|file| file.clone().into_bytes()).collect();
    let mut differing = Vec::new();
    let mut verdicts = Vec::new();
    for (file, theirs) in files.iter().zip(kubectl(&bytes)) {
        let ours = holdfast(file.as_bytes());
        verdicts.push(match (&ours, &theirs) {
            (Ok(a), Ok(b)) => {
                if a.len() != b.len() || a.iter().zip(b).any(|(a, b)| !same(a, b)) {
                    differing.push(format!("{file:?}\n  holdfast: {a:?}\n  kubectl:  {b:?}"));
                }
                (Same, String::new())
            }
            (Err(ours), Err(_)) => (BothRefuse, ours.clone()),
            (Err(ours), Ok(_)) => (HoldfastRefuses, ours.clone()),
            (Ok(_), Err(theirs)) => (KubectlRefuses, theirs.clone()),
        });
    }
    assert!(differing.is_empty(), "{} files are read differently:\n{}", differing.len(), differing.join("\n"));
    verdicts
}

/// Asserts a verdict on each of some files.
#[track_caller]
fn assert_all(verdict: Verdict, files: impl IntoIterator<Item = String>) {
    let files: Vec<String> = files.into_iter().collect();
    let others: Vec<String> = files
        .iter()
        .zip(compare(&files))
        .filter(|(_, (found, _))| *found != verdict)
        .map(|(file, (found, why))| format!("{file:?}: {found:?} {why}"))
        .collect();
    assert!(others.is_empty(), "not {verdict:?}:\n{}", others.join("\n"));
}

const HEAD: &str = "apiVersion: v1\nkind: X\nmetadata: {name: a}\n";

fn with_head(more: &[&str]) -> Vec<String> {
    more.iter().flat_map(|more| [format!("{HEAD}{more}\n"), format!("{more}\n{HEAD}")]).collect()
}

#[test]
fn every_plain_scalar_means_what_it_means_to_kubectl() {
    let alphabet = "0189.eE+-_xobnyN~:aF";
    let mut scalars: Vec<String> = WORDS.split_whitespace().map(str::to_owned).collect();
    scalars.extend(alphabet.chars().map(String::from));
    for a in alphabet.chars() {
        scalars.extend(alphabet.chars().map(|b| format!("{a}{b}")));
        scalars.extend(alphabet.chars().flat_map(|b| alphabet.chars().map(move |c| format!("{a}{b}{c}"))));
    }
    let mut random = Random(1);
    scalars.extend((0..6_000).map(|_| random.string(&["0", "0", "1", "7", ".", "e", "+", "-", "_", "x", "o", "b"], 9)));
    let files: Vec<String> = scalars.iter().map(|scalar| format!("apiVersion: v1\nkind: X\nx: {scalar}\n")).collect();
    let alone: Vec<String> = files
        .iter()
        .zip(compare(&files))
        .filter(|(_, (verdict, _))| matches!(verdict, HoldfastRefuses | KubectlRefuses))
        .map(|(file, (verdict, why))| format!("{file:?}: {verdict:?} {why}"))
        .collect();
    assert!(alone.is_empty(), "{}", alone.join("\n"));
}

#[test]
fn quoted_tagged_and_nested_scalars_and_keys_mean_what_they_mean_to_kubectl_or_are_refused() {
    let around = [
        "x: \"%\"",
        "x: '%'",
        "x: !!str %",
        "x: !!int %",
        "x: !!float %",
        "x: !!bool %",
        "x: !!null %",
        "x: !!int \"%\"",
        "x: !!float '%'",
        "x: !foo %",
        "x: ! %",
        "x: !!foo %",
        "x: !!binary %",
        "x: !!timestamp %",
        "x: &a %\ny: *a",
        "x: [%]",
        "x: {a: %}",
        "x: {%: 1}",
        "x: {%}",
        "x: |-\n  %",
        "x: >-\n  %",
        "x: % # c",
        "x: %#c",
        "x: %\n  more",
        "x: \t%",
        "x: %\t",
        "%: 1",
        "\"%\": 1",
        "? %\n: 1",
        "x:\n- %\n- %",
        "x: % y",
        "x: - %",
    ];
    let mut files = Vec::new();
    for word in WORDS.split_whitespace() {
        files.extend(around.iter().map(|form| format!("apiVersion: v1\nkind: X\n{}\n", form.replace('%', word))));
    }
    for (file, (verdict, why)) in files.iter().zip(compare(&files)) {
        let known = match verdict {
            Same | BothRefuse => true,
            // Between brackets the two YAMLs differ, and a key has no fraction.
            HoldfastRefuses => {
                let whys = [
                    "a key is a text",
                    "is not read here",
                    "between brackets",
                    "plain scalar cannot start",
                    "comments must",
                ];
                whys.iter().any(|known| why.contains(known))
            }
            KubectlRefuses => file.contains("!") || file.contains("&") || file.contains('\t'),
        };
        assert!(known, "{file:?}: {verdict:?} {why}");
    }
}

/// What people and machines write that is no text to YAML 1.1, and what only looks like it.
const WORDS: &str = "y Y yes Yes YES yEs on On ON off OFF no No n N true True TRUE tRUE false ~ null Null NULL nUll .inf \
    .Inf -.inf +.inf .nan .NaN 0644 0o644 0O17 0x1F 0X1f 0b101 -0b101 0b-101 0b+1 +0b1 08 09 0800 1e3 1E3 1e+3 1.0 1.5 \
    -0 -0.0 +1 1_000 1__0 1_ _1 0_7 0x_1 190:20:30 1:30 12:30:45 22:22 2001-01-01 2001-12-14t21:59:43.10-05:00 \
    9223372036854775807 9223372036854775808 -9223372036854775808 -9223372036854775809 18446744073709551615 \
    18446744073709551616 +18446744073709551615 9007199254740993 9007199254740993.0 1e18 1e19 1e20 1e21 1e22 \
    123456789012345678901234567890 1e400 -1e400 .5 -.5 +.5 .5e1 .e1 5. 5.e1 - + -- = << 0.1 0.30000000000000004 1e-7 \
    1.7976931348623157e308 4.9e-324 0x 0b 0o 0xg 1.2.3 1.2.3.4 10.0.0.1/8 100m 1Gi 0.5Gi 1e3m 0777 00 007 \
    0xFFFFFFFFFFFFFFFF 0xFFFFFFFFFFFFFFFFF 0777777777777777777777 01777777777777777777777 02000000000000000000000 1,000 \
    1e 1e+ e1 Infinity NaN inf nan -inf 0x1p4 .1_0 ._1 1_0.5 1_0e1 http://a:80/b é";

#[test]
fn documents_end_where_they_end_for_kubectl() {
    let json = r#"{"apiVersion":"v1","kind":"X"}"#;
    let crlf = |text: &str| text.replace('\n', "\r\n");
    assert_all(
        Same,
        [
            format!("{HEAD}---\n{HEAD}"),
            format!("--- # c\n{HEAD}--- \t\n---\n# d\n---\n~\n---\nnull\n---\n{HEAD}"),
            format!("{HEAD}...\n"),
            format!("{HEAD}...\n---\n{HEAD}"),
            format!("\u{feff}{HEAD}---\n\u{feff}{HEAD}"),
            crlf(&format!("{HEAD}---\n{HEAD}data:\n  a: |\n    x\n    y\n")),
            format!("{HEAD}data:\n  a: |\n    ---\n    x\n  b: \"x\n    --- y\"\n"),
            String::new(),
            "\n# c\n".to_owned(),
            format!("{json}{json} {json}\n\n{json}"),
            format!("{json}\n---\n{HEAD}---\n{json}"),
            format!("{HEAD}---\n{json}\n"),
            "\n {apiVersion: v1, kind: X}\n---\n{apiVersion: v1, kind: Z}\n".to_owned(),
            format!("{HEAD}data:\n  a: |\n    no line end"),
            format!("{HEAD}data:\n  a: |+\n    x\n\n\n---\n{HEAD}"),
        ],
    );
    assert_all(
        BothRefuse,
        [
            format!("--- {HEAD}"),
            format!("---\n{HEAD}--- {{}}\n"),
            format!("{HEAD}----\n"),
            format!("%YAML 1.1\n---\n{HEAD}"),
            format!("{HEAD}data:\n  a: \"x\n--- y\"\n"),
            format!("{HEAD}x: &a 1\n---\n{HEAD}y: *a\n"),
            format!("{json}{json}\n---\n{json}"),
            format!("{json},"),
            format!("[{json}]"),
            "{{ if .Values.x }}\n".to_owned() + HEAD,
        ],
    );
    // kubectl reads what is before `...` and drops the rest without a word.
    assert_all(HoldfastRefuses, [format!("{HEAD}...\n{HEAD}"), format!("{HEAD}...\nx: [\n")]);
}

#[test]
fn lists_of_every_kind_are_unfolded_as_kubectl_unfolds_them() {
    let item = "{apiVersion: v1, kind: X, metadata: {name: a}}";
    let of =
        |kind: &str, items: &str| format!("apiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\nitems: {items}\n");
    assert_all(
        Same,
        [
            of("List", &format!("[{item}, {item}]")),
            of("List", "[]"),
            of("List", "~"),
            of("RoleBindingList", "[{metadata: {name: a}}, {kind: '', apiVersion: '', metadata: {name: b}}]"),
            of("ConfigMapList", &format!("[{item}, {{metadata: {{name: a}}}}]")),
            "apiVersion: v1\nkind: ConfigMapList\nmetadata: {resourceVersion: '5'}\nitems: [{metadata: {name: a}}]\n"
                .to_owned(),
            // A kind of somebody's whose name ends so, and that is none.
            "apiVersion: example.com/v1\nkind: AllowList\nmetadata: {name: a}\n".to_owned(),
        ],
    );
    assert_all(
        BothRefuse,
        [of("List", "{}"), of("List", "x"), of("List", "[x]"), of("List", "[[]]"), of("List", "[~]")],
    );
    // Nothing but its items would be read of it.
    assert_all(HoldfastRefuses, [of("X", &format!("[{item}]")), of("X", "[]"), of("X", "~")]);
}

#[test]
fn structures_merges_aliases_and_texts_are_read_as_kubectl_reads_them() {
    assert_all(
        Same,
        with_head(&[
            "data: {<<: {b: 1, c: 2}, c: 3}",
            "data: {c: 3, <<: {b: 1, c: 2}}",
            "data: {<<: [{a: 1, b: 1}, {b: 2, c: 2}]}",
            "data: {\"<<\": {a: 1}}",
            "x: &x {a: 1}\ndata: {<<: [*x, {a: 3}], b: 2}",
            "data: {<<: {a: {b: 1}}, a: {c: 1}}",
            "x: &x {a: 1}\nz: &z {<<: *x, b: 2}\ndata: {<<: *z, c: 3}",
            "data: [<<, a]",
            "data: {<<: {a: 1}, <<: {b: 1}}",
            "x: &a 1\nz: *a\nw: &a 2\ndata: *a",
            "x: &a\ndata: *a",
            "x: &a k\ndata: {*a : 1}",
            "&a x: 1\ndata: *a",
            "data: {1: a, true: b, 0x10: c, 'no': d}",
            "on: a",
            "? a\n? b",
            "? >-\n  a\n  b\n: 1",
            "a:\n- b\n- - c\n  - d: e",
            "a: b\n\n\n  c",
            "a: 'it''s\n  so'",
            "a: \"x\\\n  y \\u00e9 \\x41 \\U0001F600 \\e \\0 \\N\"",
            "a: [b # c\n, d,]",
            "a: !!set {b, c}",
            "a: >\n b\n\n c\n  d\n e",
            "a: |2-\n    b\n   c",
            "a: >+\n b\n\n",
            "a: !!map {b: c}",
        ]),
    );
    assert_all(
        BothRefuse,
        with_head(&[
            "data: {<<: 1}",
            "data: {<<: ~}",
            "x: &x [{a: 1}]\ndata: {<<: *x}",
            "data: *a",
            "x: &a [*a]",
            "x: &a {b: *a}",
            "data: {~: a}",
            "data: {[a]: b}",
            "a: {{ .Values.x }}",
            "18446744073709551615: a",
            "a: .inf",
            "a: .nan",
            "\tdata: 1",
            "data:\n\ta: b",
            "a: @b",
            "a: `b",
            "a: %b",
            "a: - b",
            "a: !!int x",
            "a: !!bool 1",
            "a: !!null x",
            "a: !!binary '*'",
            "a: 'b' c",
            "a: [b",
            "a: \"\\q\"",
            "a: \u{1}",
            "a: \u{7f}",
            "a: b\n  c: d",
        ]),
    );
}

#[test]
fn what_kubectl_reads_by_chance_or_without_a_word_is_refused() {
    assert_all(
        HoldfastRefuses,
        with_head(&[
            // The last one wins.
            "a: 1\na: 2",
            "data: {1: a, '1': b}",
            "data: {yes: a, on: b}",
            "data:\n  <<: {a: 1}\n  a: 2\n  a: 3",
            // Spelt anew.
            "1e3: a",
            ".inf: a",
            "1.5: a",
            "x: &a 5\ndata: {*a : 1}",
            // What is no UTF-8 is lost.
            "a: !!binary aGVsbG8=",
            // YAML 1.2 reads these in another way.
            "a: {b:, c:}",
            "a: [b:]",
            "a: {?b: c}",
            "a: \"x\u{2028}y\"",
            "# \u{85}x: 1",
        ]),
    );
    assert_all(
        HoldfastRefuses,
        [
            r#"{"apiVersion":"v1","kind":"X","kind":"Y"}"#.to_owned(),
            r#"{"apiVersion":"v1","kind":"X","a":"\ud800"}"#.to_owned(),
            format!("{HEAD}a: {}1{}\n", "[".repeat(110), "]".repeat(110)),
        ],
    );
    assert_all(BothRefuse, [format!("{HEAD}{}", bomb(7)), format!("{HEAD}{}", bomb(12))]);
}

fn bomb(levels: usize) -> String {
    let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for at in 1..levels {
        bomb.push_str(&format!("a{at}: &a{at} [{}]\n", vec![format!("*a{}", at - 1); 10].join(",")));
    }
    bomb
}

/// What has one meaning although kubectl's older scanner stops at it.
#[test]
fn only_holdfast_reads_lines_of_tabs_the_escapes_of_json_addresses_in_brackets_and_lists_of_lists() {
    assert_all(
        KubectlRefuses,
        with_head(&["a: \"\\/\"", "a: \"\\ud83d\\ude00\"", "a:\n\t\n", "a: {b\n  : c}", "a: {b: http://x/y?z=1}"]),
    );
    let item = "{apiVersion: v1, kind: X, metadata: {name: a}}";
    let lists =
        format!("apiVersion: v1\nkind: List\nitems: [{{apiVersion: v1, kind: List, items: [{item}]}}, {item}]\n");
    assert_all(KubectlRefuses, [lists]);
}

#[test]
fn json_numbers_and_texts_are_read_as_kubectl_reads_them() {
    let numbers = [
        "1",
        "-0",
        "0.0",
        "-0.0",
        "1.0",
        "1.50",
        "1e3",
        "1E3",
        "1e-3",
        "1e21",
        "1e22",
        "1e400",
        "01",
        "+1",
        ".5",
        "5.",
        "0x1",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551616",
        "-9223372036854775809",
        "9007199254740993",
        "123456789012345678901234567890",
        "NaN",
        "true",
        "nul",
        "\"\\u2028\"",
        "\"\\ud83d\\ude00\"",
        "\"\\x41\"",
        "\"\\/\"",
        "\"a\tb\"",
        "\"\u{7f}\"",
        "'a'",
        "[1,]",
        "[1 2]",
        "{\"a\" 1}",
        "{a:1}",
        "/* c */ 1",
    ];
    let object = |value: &str| format!("{{\"apiVersion\":\"v1\",\"kind\":\"X\",\"a\":{value}}}");
    let files: Vec<String> =
        numbers.iter().flat_map(|value| [object(value), format!("{}{}", object("1"), object(value))]).collect();
    for (file, (verdict, why)) in files.iter().zip(compare(&files)) {
        assert!(matches!(verdict, Same | BothRefuse), "{file:?}: {verdict:?} {why}");
    }
}

/// Numbers that look random and are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % most
    }

    fn string(&mut self, pieces: &[&str], most: usize) -> String {
        (0..=self.below(most)).map(|_| pieces[self.below(pieces.len())]).collect()
    }
}

#[test]
fn whatever_is_strung_together_is_never_read_in_two_ways() {
    let pieces = [
        "a", "b: 1", "- ", "  ", "\n", "\n", "\n  ", "\n- ", ": ", "? ", "[", "]", "{", "}", ", ", "'", "\"", "#",
        " # c", "|\n", "> \n", "&x ", "*x", "!!str ", "!t ", "<<: ", "\t", "---\n", "...\n", "%", "1", "yes", "\\n",
        "x: ", "y:\n", "- a\n", "\n\n", "\r\n", "- - ", "k: v\n", "\n k: v", "-", "é", "\u{feff}", "08", "{\"a\":",
        "}\n{",
    ];
    let mut random = Random(2);
    let files: Vec<String> = (0..40_000)
        .map(|at| {
            format!("apiVersion: v1\nkind: X\n{}{}\n", if at % 3 == 0 { "" } else { "x: " }, random.string(&pieces, 9))
        })
        .collect();
    let verdicts = compare(&files);
    let read = verdicts.iter().filter(|(verdict, _)| *verdict == Same).count();
    assert!(read > 4_000, "only {read} of them are files that anybody reads");
}
