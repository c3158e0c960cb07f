use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::report::Mistake;

/// The tree in one line: quoted texts in quotes.
fn draw(node: &Node) -> String {
    let body = match &node.value {
        Value::Scalar { text, plain: true } => text.clone(),
        Value::Scalar { text, plain: false } => format!("{text:?}"),
        Value::List(items) => format!("[{}]", items.iter().map(draw).collect::<Vec<_>>().join(", ")),
        Value::Map(entries) => {
            let entries: Vec<_> =
                entries.iter().map(|entry| format!("{}: {}", entry.key, draw(&entry.value))).collect();
            format!("{{{}}}", entries.join(", "))
        }
    };
    node.tag.as_ref().map_or(body.clone(), |tag| format!("{tag} {body}"))
}

fn read(text: &str) -> (Option<String>, Vec<String>) {
    let mut findings = Findings::default();
    let tree = parse("f", text, &mut findings);
    (tree.as_ref().map(draw), findings.mistakes.iter().map(Mistake::rendered).collect())
}

fn good(text: &str) -> String {
    let (tree, mistakes) = read(text);
    assert_eq!(mistakes, Vec::<String>::new(), "{text}");
    tree.unwrap()
}

fn bad(text: &str) -> String {
    let (_, mistakes) = read(text);
    assert_eq!(mistakes.len(), 1, "{text}: {mistakes:?}");
    mistakes.into_iter().next().unwrap()
}

#[test]
fn scalars_stay_what_they_are() {
    assert_eq!(good("{a: 0755, b: yes, c: 1.10, d: ~, e: '1', f: !!str 2}"), {
        r#"{a: 0755, b: yes, c: 1.10, d: ~, e: "1", f: "2"}"#
    });
    assert_eq!(good("a: |\n  x\n  y\n"), r#"{a: "x\ny\n"}"#);
    assert_eq!(good(""), "");
    assert_eq!(good("# only a comment\n"), "");
    assert_eq!(good("a: !reset []\nb: !local x"), "{a: !reset [], b: !local x}");
}

#[test]
fn locations_are_those_of_the_file() {
    let mut findings = Findings::default();
    let tree = parse("f", "a:\n  - x\n  - bc: 1\n", &mut findings).unwrap();
    let Value::List(items) = &tree.get("a").unwrap().value else { panic!() };
    assert_eq!((items[0].line, items[0].col), (2, 5));
    let one = items[1].get("bc").unwrap();
    assert_eq!((one.line, one.col), (3, 9));
}

#[test]
fn merge_keys_give_way_to_own_ones_and_to_earlier_ones() {
    let text = "x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\none: {<<: *x, a: 0}\ntwo: {d: 4, <<: [*y, *x]}\n";
    let tree = good(text);
    assert!(tree.contains("one: {a: 0, b: 1}"), "{tree}");
    assert!(tree.contains("two: {d: 4, b: 2, c: 2, a: 1}"), "{tree}");
    assert_eq!(good("{'<<': 1}"), r"{<<: 1}");
    assert!(bad("a: {<<: 1}").contains("`<<` takes a mapping"));
    assert!(bad("a: {<<: [{b: 1}, 2]}").contains("`<<` takes a mapping"));
}

#[test]
fn invalid_documents_are_reported_at_their_location() {
    assert_eq!(
        bad("a: 1\nb: 2\na: 3\n"),
        "f:3:1: the key `a` is defined twice (first on line 1)\n  hint: keep one of them"
    );
    assert!(bad("a: 1\n---\nb: 2\n").starts_with("f:2:1: a second document"));
    assert!(bad("a: *nowhere").starts_with("f:1:4: not valid YAML"));
    assert!(bad("a: &a [*a]").contains("this alias is inside the value that it refers to"));
    assert!(bad("[a]: 1").contains("a key must be a single value"));
    assert!(bad("a:\n\t- b\n").contains("YAML forbids tabs"));
    assert!(bad("a: [1, 2\n").contains("not valid YAML"));
}

#[test]
fn alias_bombs_are_refused() {
    let mut wide = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    let mut deep = "a0: &a0 [x]\n".to_owned();
    for n in 1..100 {
        let last = n - 1;
        let _ = writeln!(wide, "a{n}: &a{n} [{}]", vec![format!("*a{last}"); 10].join(", "));
        let _ = writeln!(deep, "a{n}: &a{n} [*a{last}]");
    }
    assert!(bad(&wide).contains("more than 100000 nodes"));
    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(limits::SPEC_BYTES / 2), "*a, ".repeat(1000));
    assert!(bad(&long).contains("bytes of text once aliases"));
    assert!(bad(&deep).contains("nested deeper than 64"));
    assert!(bad(&format!("{}{}", "[".repeat(100), "]".repeat(100))).contains("nested deeper than 64"));
    assert!(bad(&"[".repeat(10_000)).contains("not valid YAML"));
    assert!(bad(&"x".repeat(limits::SPEC_BYTES + 1)).contains("bytes"));
}

/// A tree of another library, from texts, whole numbers and booleans.
fn any_tree() -> impl Strategy<Value = serde_yaml::Value> {
    let text = prop_oneof!["[ -~\\n\\tüé€]{0,12}", Just("<<x".to_owned()), Just("~".to_owned())];
    let leaf = prop_oneof![
        text.clone().prop_map(serde_yaml::Value::String),
        any::<u32>().prop_map(serde_yaml::Value::from),
        any::<bool>().prop_map(serde_yaml::Value::from),
    ];
    // The other library writes this key without quotes, and it would be read as a merge key.
    let key = text.clone().prop_filter("a merge key is not a key of a map", |key| key != "<<");
    leaf.prop_recursive(4, 32, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(serde_yaml::Value::Sequence),
            prop::collection::btree_map(key.clone(), inner, 0..5).prop_map(|map| serde_yaml::Value::Mapping(
                map.into_iter().map(|(k, v)| (k.into(), v)).collect()
            )),
        ]
    })
}

fn same(node: &Node, value: &serde_yaml::Value) -> bool {
    match (&node.value, value) {
        (Value::Scalar { text, .. }, serde_yaml::Value::String(other)) => text == other && !node.is_null(),
        (Value::Scalar { text, plain: true }, serde_yaml::Value::Number(other)) => *text == other.to_string(),
        (Value::Scalar { text, plain: true }, serde_yaml::Value::Bool(other)) => *text == other.to_string(),
        (Value::List(items), serde_yaml::Value::Sequence(others)) => {
            items.len() == others.len() && items.iter().zip(others).all(|(item, other)| same(item, other))
        }
        (Value::Map(entries), serde_yaml::Value::Mapping(others)) => {
            entries.len() == others.len()
                && entries.iter().zip(others).all(|(entry, (key, other))| {
                    key.as_str() == Some(&entry.key) && same(&entry.value, other)
                })
        }
        _ => false,
    }
}

proptest! {
    #[test]
    fn what_another_library_writes_is_read_as_it_was_meant(tree in any_tree()) {
        let text = serde_yaml::to_string(&tree).unwrap();
        let mut findings = Findings::default();
        let node = parse("f", &text, &mut findings);
        prop_assert!(findings.mistakes.is_empty(), "{text}: {:?}", findings.mistakes);
        prop_assert!(same(&node.unwrap(), &tree), "{text}");
    }

    #[test]
    fn no_text_breaks_the_reader(text in r#"([a-c\[\]{}:,&*!<>|"' \n\t#?%~-]|<<: |- |: ){0,60}"#) {
        read(&text);
    }

    #[test]
    fn no_unicode_breaks_the_reader(text in any::<String>()) {
        read(&text);
    }
}
