//! What `#[shared]` writes, as users see it: proxies whose methods are those of the type, in another process.
//!
//! Relies on the crate's lints here: all that is written for the types below must pass them.

#![deny(warnings, missing_docs, unreachable_pub, unused_qualifications)]
#![forbid(unsafe_code)]

mod hygiene;
mod kinds;
mod table;
mod tree;

use procession_launch::{Context, StartMethod};
use procession_manager::{BaseManager, CallError, ManagerBuilder, Method, Proxy, Refusal, Run, Shared, shared};
use serde::{Deserialize, Serialize};

procession_testkit::main! {
    warm_up: warm_up;
    cases: [
        references_arrive_as_what_they_refer_to,
        results_come_back_as_owned_values,
        a_constructor_may_fail,
        what_is_not_shared_is_not_there,
        types_with_parameters_are_shared,
        a_signature_tells_methods_and_parameters_apart,
        names_of_the_users_are_in_nobodys_way,
        methods_of_all_kinds_are_shared,
        a_type_in_a_function_is_shared,
        an_object_gives_others_away_as_proxies,
    ];
}

fn warm_up() {
    Context::new(StartMethod::ForkServer).start(|| (), ()).expect("a child").join().expect("a child that does nothing");
}

fn started(builder: ManagerBuilder) -> BaseManager {
    builder.start().expect("a server")
}

/// What the server refused, and why.
#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, CallError>) -> Refusal {
    match result {
        Err(CallError::Refused { refusal, .. }) => refusal,
        other => panic!("{other:?}"),
    }
}

fn references_arrive_as_what_they_refer_to() {
    let manager = started(BaseManager::builder().register::<table::Table>("Table"));
    let table: table::TableProxy = manager.create::<table::Table>(("Ada".to_owned(), None)).unwrap();
    let (name, numbers) = (String::from("Grace"), vec![0.5, 1.5]);
    assert_eq!(table.describe(&name, &numbers, &table::Row::new("row", 7)).unwrap(), "Ada: Grace, [0.5, 1.5], row=7");
    assert_eq!(table.describe("", &[], &table::Row::new("", 0)).unwrap(), "Ada: , [], =0");
    assert_eq!(table.perhaps(Some("text"), Some(&numbers), None).unwrap(), "Some(\"text\") Some([0.5, 1.5]) None");
    assert_eq!(table.perhaps(None, None, Some(&table::Row::new("x", 1))).unwrap(), "None None Some(\"x\")");
    assert_eq!(table.file_name("/tmp/a.txt".as_ref()).unwrap().as_deref(), Some("a.txt"));
    manager.shutdown().unwrap();
}

fn results_come_back_as_owned_values() {
    let manager = started(BaseManager::builder().register::<table::Table>("Table"));
    let table = manager.create::<table::Table>(("Ada".to_owned(), Some(3.0))).unwrap();
    let name: String = table.name().unwrap();
    assert_eq!(name, "Ada");
    let numbers: Vec<f64> = table.numbers().unwrap();
    assert_eq!(numbers, [3.0]);
    table.insert(table::Row::new("a", 1)).unwrap();
    table.insert(table::Row::new("b", 2)).unwrap();
    let found: Option<table::Row> = table.find("b").unwrap();
    assert_eq!(found, Some(table::Row::new("b", 2)));
    assert_eq!(table.find("c").unwrap(), None);
    let first: (Option<table::Row>, String, u64) = table.first().unwrap();
    assert_eq!(first, (Some(table::Row::new("a", 1)), "Ada".to_owned(), 2));
    let keys: Vec<String> = table.keys().unwrap();
    assert_eq!(keys, ["a", "b"]);
    assert_eq!(table.values().unwrap(), [1, 2]);
    assert_eq!(table.cow(true).unwrap(), "ADA");
    assert_eq!(table.cow(false).unwrap(), "Ada");
    let missing: Result<table::Row, String> = table.row("c").unwrap();
    assert_eq!(missing, Err("Ada".to_owned()));
    assert_eq!(table.row("a").unwrap(), Ok(table::Row::new("a", 1)));
    manager.shutdown().unwrap();
}

fn a_constructor_may_fail() {
    let manager = started(BaseManager::builder().register::<table::Even>("Even"));
    assert_eq!(manager.create::<table::Even>((4,)).unwrap().half().unwrap(), 2);
    match refused(manager.create::<table::Even>((5,))) {
        Refusal::Construct { reason } => assert_eq!(reason, "5 is odd"),
        other => panic!("{other}"),
    }
    manager.shutdown().unwrap();
}

/// Has methods of which a client sees one.
struct Reserved;

#[shared(vis = "pub(crate)")]
impl Reserved {
    /// The only one.
    pub(crate) fn shared(&self) -> u8 {
        self.local_only(|byte| byte + 1) + self.private()
    }

    #[shared(skip)]
    pub(crate) fn local_only(&self, f: impl Fn(u8) -> u8) -> u8 {
        f(Self::ONE)
    }

    fn private(&self) -> u8 {
        Self::ONE
    }

    /// Needs no object.
    pub(crate) const ONE: u8 = 1;

    /// Needs no object either.
    pub(crate) fn without_an_object() -> Self {
        Self
    }
}

fn what_is_not_shared_is_not_there() {
    let names: Vec<_> = Reserved::methods().iter().map(|method| method.name).collect();
    assert_eq!(names, ["shared"]);
    assert_eq!(Reserved::without_an_object().shared(), 3);
}

fn types_with_parameters_are_shared() {
    let builder =
        BaseManager::builder().register::<table::Stack<i64>>("numbers").register::<table::Ring<String, 2>>("ring");
    let manager = started(builder);
    let stack: table::StackProxy<i64> = manager.create::<table::Stack<i64>>(()).unwrap();
    assert_eq!((stack.push(1).unwrap(), stack.push(2).unwrap()), (1, 2));
    assert_eq!(stack.items().unwrap(), [1, 2]);
    assert_eq!(stack.peek().unwrap(), Some(2));
    assert_eq!((stack.pop().unwrap(), stack.is_like(&1).unwrap()), (Some(2), true));
    let ring: table::RingProxy<String, 2> =
        manager.create::<table::Ring<String, 2>>((["a".to_owned(), "b".to_owned()],)).unwrap();
    ring.put("c".to_owned()).unwrap();
    assert_eq!(ring.all().unwrap(), ["b", "c"]);
    manager.publish("ring", &ring).unwrap();
    assert!(manager.get::<table::RingProxy<String, 2>>("ring").unwrap() == ring);
    assert!(manager.get::<table::RingProxy<String, 3>>("ring").is_err());
    assert_eq!(table::Stack::<i64>::type_name(), "Stack<i64>");
    assert_eq!(table::Stack::<String>::type_name(), "Stack<alloc::string::String>");
    assert_eq!(table::Ring::<u8, 3>::type_name(), "Round<u8, 3>");
    assert_eq!(kinds::Kinds::type_name(), "Kinds");
    manager.shutdown().unwrap();
}

fn a_signature_tells_methods_and_parameters_apart() {
    fn of<T: Shared>(name: &str) -> u64 {
        let found = T::methods().into_iter().find(|method| method.name == name);
        found.unwrap_or_else(|| panic!("{} has no {name}", T::type_name())).signature
    }
    assert_ne!(of::<table::Stack<i64>>("push"), of::<table::Stack<u64>>("push"));
    assert_ne!(of::<table::Stack<i64>>("push"), of::<table::Stack<i64>>("pop"));
    assert_ne!(of::<table::Ring<u8, 3>>("put"), of::<table::Ring<u8, 4>>("put"));
    assert_eq!(of::<table::Stack<i64>>("push"), of::<table::Stack<i64>>("push"));
    // A proxy for other parameters than those of the object is told so, and not misunderstood.
    let manager = started(BaseManager::builder().register::<table::Stack<i64>>("numbers"));
    let numbers = manager.create::<table::Stack<i64>>(()).unwrap();
    let texts = table::StackProxy::<String>::from_raw(numbers.as_raw().clone());
    let refusal = refused(texts.push("text".to_owned()));
    assert!(matches!(&refusal, Refusal::NoMethod { object, .. } if object == "Stack<i64>"), "{refusal}");
    manager.publish("numbers", &numbers).unwrap();
    assert!(manager.get::<table::StackProxy<i64>>("numbers").unwrap() == numbers);
    let refusal = refused(manager.get::<table::StackProxy<String>>("numbers"));
    let is_told = matches!(&refusal, Refusal::OtherKind { wanted, .. } if wanted == "Stack<alloc::string::String>");
    assert!(is_told, "{refusal}");
    manager.shutdown().unwrap();
}

fn names_of_the_users_are_in_nobodys_way() {
    let manager = started(BaseManager::builder().register::<hygiene::Call>("Call"));
    let proxy = manager.create::<hygiene::Call>((1, 2)).unwrap();
    hygiene::check(&proxy);
    manager.shutdown().unwrap();
}

fn methods_of_all_kinds_are_shared() {
    let manager = started(BaseManager::builder().register::<kinds::Kinds>("Kinds"));
    let proxy = manager.create::<kinds::Kinds>(()).unwrap();
    kinds::check(&proxy);
    let methods = kinds::Kinds::methods();
    let is_exclusive = |method: &Method<_>| matches!(method.run, Run::Exclusive(_));
    let of = |exclusive: bool| methods.iter().filter(move |method| is_exclusive(method) == exclusive);
    assert_eq!(of(true).map(|method| method.name).collect::<Vec<_>>(), ["type", "typed_receiver_to_change", "merge"]);
    assert!(of(false).any(|method| method.name == "configured_in"));
    assert!(!methods.iter().any(|method| method.name == "configured_out"));
    assert!(format!("{proxy:?}").starts_with("KindsProxy(RawProxy"), "{proxy:?}");
    let other = manager.create::<kinds::Kinds>(()).unwrap();
    assert_eq!(proxy, proxy.clone());
    assert_ne!(proxy, other);
    manager.shutdown().unwrap();
}

fn a_type_in_a_function_is_shared() {
    #[derive(Serialize, Deserialize)]
    struct Counter(i64);

    #[shared]
    impl Counter {
        pub(crate) fn new(n: i64) -> Self {
            Self(n)
        }

        pub(crate) fn incr(&mut self, by: i64) -> i64 {
            self.0 += by;
            self.0
        }
    }

    let manager = started(BaseManager::builder().register::<Counter>("Counter").register_object("one", Counter(10)));
    let counter: CounterProxy = manager.create::<Counter>((1,)).unwrap();
    assert_eq!((counter.incr(2).unwrap(), counter.incr(2).unwrap()), (3, 5));
    let one: CounterProxy = manager.get("one").unwrap();
    assert_eq!(one.incr(1).unwrap(), 11);
    manager.shutdown().unwrap();
}

fn an_object_gives_others_away_as_proxies() {
    let manager = started(BaseManager::builder().register::<tree::Node>("Node"));
    tree::check(&manager);
    manager.shutdown().unwrap();
}
