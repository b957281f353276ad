use super::*;

/// A guest that answers as its data say.
struct Echo;

impl Guest for Echo {
    type Class = String;
    type Rule = Vec<(String, String)>;
    type Parser = String;

    fn start(settings: &Settings<'_>) -> Result<(), String> {
        if settings.directories.is_empty() { Err("no directories".to_owned()) } else { Ok(()) }
    }

    fn begin(_call: u64) {}

    fn end() {}

    fn interrupt(_call: u64) {}

    fn changed() -> bool {
        true
    }

    fn refresh() {}

    fn load(name: &str) -> Result<String, String> {
        if name.is_empty() { Err("no name".to_owned()) } else { Ok(name.to_owned()) }
    }

    fn rule(class: &String, fields: &[(&str, &str)]) -> Result<Self::Rule, String> {
        assert_ne!(fields.len(), 3, "three fields panic");
        Ok(fields.iter().map(|(name, value)| ((*name).to_owned(), format!("{class} {value}"))).collect())
    }

    fn parser(class: &String, info: &Info<'_>) -> Result<String, String> {
        Ok(format!("{class} for {} of {}", info.port, info.policy_name))
    }

    fn matches(rule: &Self::Rule) -> Option<bool> {
        rule.first().map(|(name, _)| name == "yes")
    }

    fn on_data(parser: &String, reply: bool, _end_stream: bool, data: &[u8]) -> Answer {
        match data {
            b"more" => Answer::More(1),
            b"panic" => panic!("asked for"),
            b"inject" => Answer::Pass(inject(!reply, parser.as_bytes()).unwrap_or(0)),
            b"log" => {
                log(Kind::Denied, "echo", &[("name", "value")]).unwrap_or(());
                Answer::Drop(1)
            }
            b"decide" => Answer::Error(format!("{:?}", decide())),
            _ => Answer::Failed(Failure {
                kind: FailureKind::Nonsense,
                reason: "what?".to_owned(),
                traceback: "line".to_owned(),
            }),
        }
    }

    fn free<T>(_object: T) {}
}

/// Keeps what it is called with; allows what its rule matches.
#[derive(Default)]
struct Kept {
    rule: Option<Rule>,
    injected: Vec<(bool, Vec<u8>)>,
    logged: Vec<String>,
}

impl Calls for Kept {
    fn decide(&mut self) -> bool {
        self.rule.as_ref().and_then(Rule::matches).unwrap_or(false)
    }

    fn inject(&mut self, reply: bool, bytes: &[u8]) -> usize {
        self.injected.push((reply, bytes.to_vec()));
        bytes.len()
    }

    fn log(&mut self, kind: Kind, protocol: &str, fields: &[(&str, &str)]) {
        self.logged.push(format!("{kind:?} {protocol} {fields:?}"));
    }
}

const INFO: Info<'_> = Info {
    ingress: true,
    source_id: 1,
    destination_id: 2,
    source_address: "1.1.1.1:1",
    destination_address: "2.2.2.2:80",
    policy_name: "web",
    port: 80,
};

fn library() -> Library {
    Library::new(table::<Echo>()).unwrap()
}

fn ask(kept: &mut Kept, data: &[u8]) -> Answer {
    library().load("echo").unwrap().parser(&INFO).unwrap().on_data(kept, false, false, data)
}

#[test]
fn reasons_cross() {
    let settings = Settings { program: "python", package: "", directories: &[], memory: 0 };
    assert_eq!(library().start(&settings), Err("no directories".to_owned()));
    assert_eq!(library().start(&Settings { directories: &["here"], ..settings }), Ok(()));
    assert_eq!(library().load("").err(), Some("no name".to_owned()));
    assert!(library().changed());
}

#[test]
fn answers_and_calls_back_cross() {
    let mut kept = Kept::default();
    assert_eq!(ask(&mut kept, b"more"), Answer::More(1));
    assert_eq!(ask(&mut kept, b"inject"), Answer::Pass("echo for 80 of web".len()));
    assert_eq!(kept.injected, [(true, b"echo for 80 of web".to_vec())]);
    assert_eq!(ask(&mut kept, b"log"), Answer::Drop(1));
    assert_eq!(kept.logged, ["Denied echo [(\"name\", \"value\")]"]);
    let Answer::Failed(failure) = ask(&mut kept, b"") else { panic!("no failure") };
    assert_eq!((failure.kind, &*failure.reason, &*failure.traceback), (FailureKind::Nonsense, "what?", "line"));
}

#[test]
fn a_rule_decides_on_the_message_at_hand() {
    let class = library().load("echo").unwrap();
    for (field, allowed) in [("yes", true), ("no", false)] {
        let rule = class.rule([(field, "")].into_iter()).unwrap();
        let mut kept = Kept { rule: Some(rule), ..Kept::default() };
        assert_eq!(ask(&mut kept, b"decide"), Answer::Error(format!("Some({allowed})")));
    }
}

#[test]
fn a_panic_does_not_cross() {
    let Answer::Failed(failure) = ask(&mut Kept::default(), b"panic") else { panic!("no failure") };
    assert_eq!((failure.kind, &*failure.reason), (FailureKind::Raised, "the library that embeds Python panicked"));
    let class = library().load("echo").unwrap();
    assert!(class.rule([("a", ""); 3].into_iter()).is_err());
}

#[test]
fn a_panic_of_a_call_back_denies() {
    struct Panics;
    impl Calls for Panics {
        fn decide(&mut self) -> bool {
            panic!("asked for")
        }
        fn inject(&mut self, _reply: bool, _bytes: &[u8]) -> usize {
            0
        }
        fn log(&mut self, _kind: Kind, _protocol: &str, _fields: &[(&str, &str)]) {}
    }
    let parser = library().load("echo").unwrap().parser(&INFO).unwrap();
    assert_eq!(parser.on_data(&mut Panics, false, false, b"decide"), Answer::Error("Some(false)".to_owned()));
}

#[test]
fn there_is_nothing_to_call_back_outside_of_data() {
    assert_eq!((decide(), inject(false, b"x"), log(Kind::Request, "", &[])), (None, None, None));
}

#[test]
fn a_library_that_is_not_there_is_named() {
    let error = Library::open("/nowhere/lib.so".as_ref(), &[]).err().unwrap().to_string();
    assert!(error.starts_with("/nowhere/lib.so cannot be loaded: "), "{error}");
}
