//! What a server runs first, what is registered with it, arrays, and functions that change values in their place.
//!
//! Relies on the testkit: each case is a process tree of its own, with a deadline and an audit of what is left.

mod common;

use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use procession_ipc::ListenError;
use procession_launch::{Context, StartMethod};
use procession_manager::{
    ArrayProxy, BarrierProxy, BaseManager, Codec, CodecListener, DictProxy, JoinableQueueProxy, ListProxy, LockProxy,
    ManagerBuilder, ManagerError, NamespaceProxy, Proxy, QueueProxy, Refusal, SemaphoreProxy, Session,
    SharedMemoryManager, SyncManager, ValueProxy, managed, shared,
};
use procession_pool::Pool;
use procession_testkit::assert_cost;
use serde::{Deserialize, Serialize};

use common::{await_objects, manager, methods, refusal, rest, warm_up};

/// What the initializer has left for the server's methods.
static GREETING: OnceLock<String> = OnceLock::new();

fn prepare(greeting: String, times: usize) -> Result<(), String> {
    match greeting.as_str() {
        "" => Err("there is nothing to say".to_owned()),
        "panic" => panic!("no such luck"),
        "die" => std::process::abort(),
        _ => GREETING.set(greeting.repeat(times)),
    }
}

/// A type whose methods use what the initializer has left.
#[derive(Debug, Default)]
pub(crate) struct Greeter;

#[shared]
impl Greeter {
    pub(crate) fn new() -> Self {
        Self
    }

    pub(crate) fn greeting(&self) -> Option<&str> {
        GREETING.get().map(String::as_str)
    }
}

/// Another type, with a method of the same form.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Herald;

#[shared]
impl Herald {
    pub(crate) fn greeting(&self) -> Option<&str> {
        None
    }
}

fn greeter(method: StartMethod) -> ManagerBuilder {
    BaseManager::builder().context(Context::new(method)).register::<Greeter>("Greeter")
}

fn an_initializer_runs_in_the_server(method: StartMethod) {
    let manager = greeter(method).initializer(prepare, ("hello".to_owned(), 2)).start().unwrap();
    assert_eq!(manager.create::<Greeter>(()).unwrap().greeting().unwrap().as_deref(), Some("hellohello"));
    assert!(GREETING.get().is_none(), "and not here");
    let own = greeter(method).initializer(prepare, ("here".to_owned(), 1)).get_server().unwrap();
    assert_eq!(GREETING.get().map(String::as_str), Some("here"), "a server in this process has run it here");
    drop(own);
}

fn an_initializer_that_fails_is_told(method: StartMethod) {
    let start = |what: &str| greeter(method).initializer(prepare, (what.to_owned(), 1)).start();
    match start("") {
        Err(ManagerError::Initializer { message, location: None, .. }) => {
            assert_eq!(message, "there is nothing to say");
        }
        other => panic!("{other:?}"),
    }
    match start("panic") {
        Err(ManagerError::Initializer { message, location: Some(location), .. }) => {
            assert!(message == "no such luck" && location.contains("kinds.rs"), "{message} at {location}");
        }
        other => panic!("{other:?}"),
    }
    let died = start("die");
    assert!(matches!(died, Err(ManagerError::Ended { .. })), "{died:?}");
}

fn wait_in_vain() {
    rest()
}

fn an_initializer_that_takes_too_long_is_told(method: StartMethod) {
    let limit = Duration::from_secs(3); // Within which the process must be there.
    match greeter(method).initializer(wait_in_vain, ()).start_timeout(limit).start() {
        Err(error @ ManagerError::StartTimeout { pid, after, .. }) => {
            assert_eq!(after, limit);
            assert!(error.to_string().contains("`start_timeout`"), "{error}");
            assert!(!Path::new(&format!("/proc/{pid}")).exists(), "it was killed, and reaped");
        }
        other => panic!("{other:?}"),
    }
}

fn a_name_is_registered_once() {
    let by = |builder: ManagerBuilder| match builder.start() {
        Err(error @ ManagerError::NameTaken { by, .. }) => {
            let said = error.to_string();
            assert!(said.contains("\"twice\"") || said.contains("\"queue\""), "{said}");
            assert!(said.contains("a name of its own"), "{said}");
            by
        }
        other => panic!("{other:?}"),
    };
    let types = BaseManager::builder().register::<Greeter>("twice").register::<Workers>("twice");
    assert_eq!(by(types), "another type");
    let objects = BaseManager::builder().register_object("twice", managed::lock());
    assert_eq!(by(objects.register_object("twice", managed::queue::<u8>())), "another object");
    assert_eq!(by(BaseManager::builder().register::<Greeter>("queue")), "a type that every manager has");
    let served = BaseManager::builder().register::<Greeter>("twice").register::<Greeter>("twice").get_server();
    assert!(matches!(served, Err(ManagerError::NameTaken { .. })), "{served:?}");
    // Who makes an object of a type, and who gets a single one, ask for different things.
    let apart = BaseManager::builder().register::<Greeter>("lock_of_ours").register_object("lock", managed::lock());
    let apart = apart.register_object("lock_of_ours", managed::lock()).start().unwrap();
    apart.create::<Greeter>(()).unwrap();
    assert!(apart.get::<LockProxy>("lock").unwrap().try_lock().is_ok());
    assert!(apart.get::<LockProxy>("lock_of_ours").unwrap().lock().is_ok());
}

fn a_manager_is_called_what_it_is() {
    let twice = |builder: ManagerBuilder| {
        let builder = builder.register_object("twice", managed::lock());
        match builder.register_object("twice", managed::lock()).start() {
            Err(ManagerError::NameTaken { name, .. }) => name,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(twice(BaseManager::builder()), "BaseManager");
    assert_eq!(twice(SyncManager::builder()), "SyncManager");
    assert_eq!(twice(SyncManager::builder().name("bank")), "bank");
    assert!(format!("{:?}", SyncManager::start().unwrap()).contains("name: \"SyncManager\""));
    assert!(format!("{:?}", SharedMemoryManager::start().unwrap()).contains("name: \"SharedMemoryManager\""));
}

fn a_server_that_cannot_listen_says_where_and_why(method: StartMethod) {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let builder = || BaseManager::builder().context(Context::new(method));
    match builder().address(&*address).start() {
        Err(ManagerError::Listen { name, error: ListenError::System { address: at, error } }) => {
            assert_eq!((name.as_str(), at.to_string()), ("BaseManager", address.clone()));
            assert_eq!((error.kind(), error.raw_os_error().is_some()), (ErrorKind::AddrInUse, true), "{error}");
        }
        other => panic!("{other:?}"),
    }
    let file = std::env::temp_dir().join(format!("no-socket-{}-{}", std::process::id(), method.name()));
    std::fs::write(&file, "a file").unwrap();
    let told = builder().address(file.to_str().unwrap()).start().unwrap_err();
    std::fs::remove_file(&file).unwrap();
    let said = told.to_string();
    assert!(said.contains(file.to_str().unwrap()) && said.contains("no socket"), "{said}");
    assert!(
        matches!(told, ManagerError::Listen { error: ListenError::System { error, .. }, .. } if error.kind() == ErrorKind::AddrInUse)
    );
    match builder().codec::<Mute>(CodecListener::at(&*address)).start() {
        Err(ManagerError::Codec { reason, .. }) => assert!(reason.contains(&address), "{reason}"),
        other => panic!("{other:?}"),
    }
}

/// Says nothing.
#[derive(Default)]
struct Mute;

impl Codec for Mute {
    fn open(&self) -> Box<dyn Session> {
        unreachable!("nobody connects")
    }
}

fn a_refusal_names_its_object() {
    let manager = SyncManager::start().unwrap();
    let (jobs, texts) = (manager.bounded_queue::<u8>(1).unwrap(), manager.list::<String>().unwrap());
    jobs.put(&1).unwrap();
    let id = jobs.as_raw().object();
    let said = jobs.try_put(&2).unwrap_err().to_string();
    assert!(said.starts_with(&format!("queue.put of object {id} was refused by the server at ")), "{said}");
    manager.publish("jobs", &jobs).unwrap();
    let said = jobs.try_put(&2).unwrap_err().to_string();
    assert!(said.starts_with("queue.put of \"jobs\" was refused by the server at "), "{said}");
    let key = procession_launch::current_process().authkey();
    let other = SyncManager::connect(manager.address().clone(), key.as_bytes()).unwrap();
    let same: QueueProxy<u8> = other.get("jobs").unwrap();
    same.get().unwrap();
    let said = same.get_timeout(Duration::from_millis(1)).unwrap_err().to_string();
    assert!(said.starts_with("queue.get of \"jobs\" was refused"), "{said}");
    let said = texts.set_later(7, String::new()).unwrap().get().unwrap_err().to_string();
    assert!(said.contains(&texts.as_raw().object().to_string()), "{said}");
    let said = manager.get::<LockProxy>("nothing").unwrap_err().to_string();
    assert!(said.starts_with("get was refused by the server at "), "no object was called: {said}");
}

fn an_object_is_got_as_what_it_is() {
    let manager: SyncManager = BaseManager::builder().register::<Greeter>("Greeter").start().unwrap().into();
    let dict = manager.dict::<String, u64>().unwrap();
    manager.publish("dict", &dict).unwrap();
    manager.publish("greeter", &manager.create::<Greeter>(()).unwrap()).unwrap();
    let before = manager.number_of_objects().unwrap();
    let other = |name: &str, object: &str, wanted: &str| Refusal::OtherKind {
        name: name.to_owned(),
        object: object.to_owned(),
        wanted: wanted.to_owned(),
    };
    let list = refusal(manager.get::<ListProxy<u32>>("dict"));
    assert_eq!(list.to_string(), "\"dict\" is a dict there, and no list: ask for it as what it is");
    assert_eq!(list, other("dict", "dict", "list"));
    assert_eq!(refusal(manager.get::<NamespaceProxy>("dict")), other("dict", "dict", "namespace"));
    assert_eq!(refusal(manager.get::<QueueProxy<u8>>("greeter")), other("greeter", "Greeter", "queue"));
    assert_eq!(manager.get::<DictProxy<String, u64>>("dict").unwrap().len().unwrap(), 0);
    assert_eq!(refusal(manager.get::<GreeterProxy>("dict")), other("dict", "dict", "Greeter"));
    assert_eq!(refusal(manager.get::<HeraldProxy>("greeter")), other("greeter", "Greeter", "Herald"));
    assert!(manager.get::<GreeterProxy>("greeter").unwrap().greeting().unwrap().is_none());
    let as_ours = GreeterProxy::from_raw(dict.as_raw().clone());
    assert!(matches!(refusal(as_ours.greeting()), Refusal::NoMethod { object, .. } if object == "dict"));
    drop(as_ours);
    await_objects(&manager, before);
}

fn the_two_kinds_of_queues_are_told_apart() {
    let builder = BaseManager::builder().register_object("herald", Herald);
    let builder = builder.register_object("later", managed::joinable_queue::<u8>());
    let manager: SyncManager = builder.register_object("plain", managed::queue::<u8>()).start().unwrap().into();
    manager.publish("published", &manager.joinable_queue::<u8>().unwrap()).unwrap();
    let other = |name: &str, object: &str, wanted: &str| {
        let (name, object, wanted) = (name.to_owned(), object.to_owned(), wanted.to_owned());
        Refusal::OtherKind { name, object, wanted }
    };
    for name in ["later", "published"] {
        assert_eq!(refusal(manager.get::<QueueProxy<u8>>(name)), other(name, "joinable_queue", "queue"));
        manager.get::<JoinableQueueProxy<u8>>(name).unwrap().put(&1).unwrap();
    }
    let plain = refusal(manager.get::<JoinableQueueProxy<u8>>("plain"));
    assert_eq!(plain, other("plain", "queue", "joinable_queue"));
    manager.get::<QueueProxy<u8>>("plain").unwrap().put(&1).unwrap();
    let types: Vec<String> = manager.objects().unwrap().into_iter().map(|object| object.type_name).collect();
    assert_eq!(types.iter().filter(|of| *of == "joinable_queue").count(), 2, "{types:?}");
    assert_eq!(refusal(manager.get::<GreeterProxy>("herald")), other("herald", "Herald", "Greeter"));
}

fn a_server_that_does_not_end_is_killed_in_time() {
    let timeout = Duration::from_millis(20);
    assert_cost(Duration::from_secs(1), || {
        let manager = BaseManager::builder().shutdown_timeout(timeout).call_timeout(timeout).start().unwrap();
        let pid = manager.pid().unwrap();
        assert!(std::process::Command::new("kill").args(["-STOP", &pid.to_string()]).status().unwrap().success());
        let begun = Instant::now();
        manager.shutdown().unwrap();
        begun.elapsed()
    });
}

fn what_is_registered_is_every_clients(method: StartMethod) {
    let builder = BaseManager::builder().context(Context::new(method)).authkey(b"a key");
    let builder = builder
        .register_object("get_tasks", managed::joinable_queue::<String>())
        .register_object("results", managed::bounded_queue::<u64>(1))
        .register_object("words", managed::dict::<String, u64>())
        .register_object("begun", managed::value("never".to_owned()))
        .register_object("numbers", managed::array([1_i32, 2, 3]))
        .register_object("lock", managed::lock())
        .register_object("permits", managed::semaphore(2))
        .register_object("parties", managed::barrier(1));
    let manager = builder.start().unwrap();
    assert_eq!(manager.number_of_objects().unwrap(), 0, "each is made when it is asked for");
    let other = BaseManager::connect(manager.address().clone(), b"a key").unwrap();
    let (ours, theirs): (JoinableQueueProxy<String>, JoinableQueueProxy<String>) =
        (manager.get("get_tasks").unwrap(), other.get("get_tasks").unwrap());
    ours.put(&"sweep".to_owned()).unwrap();
    assert_eq!(theirs.get().unwrap(), "sweep");
    let results: QueueProxy<u64> = other.get("results").unwrap();
    results.put(&1).unwrap();
    assert_eq!(refusal(results.try_put(&2)), Refusal::WouldBlock);
    other.get::<DictProxy<String, u64>>("words").unwrap().insert("be".to_owned(), 1).unwrap();
    assert_eq!(manager.get::<DictProxy<String, u64>>("words").unwrap().len().unwrap(), 1);
    assert_eq!(other.get::<ValueProxy<String>>("begun").unwrap().get().unwrap(), "never");
    assert_eq!(other.get::<ArrayProxy<i32>>("numbers").unwrap().to_vec().unwrap(), [1, 2, 3]);
    drop(other.get::<LockProxy>("lock").unwrap().lock().unwrap());
    assert_eq!(other.get::<SemaphoreProxy>("permits").unwrap().available().unwrap(), 2);
    assert!(other.get::<BarrierProxy>("parties").unwrap().wait().is_ok());
    drop(other);
}

fn an_array_has_its_length_and_type() {
    let manager = SyncManager::start().unwrap();
    let array = manager.array((0..10).map(f64::from)).unwrap();
    assert_eq!((array.len().unwrap(), array.get(9).unwrap(), array.slice(2..4).unwrap()), (10, 9.0, vec![2.0, 3.0]));
    assert_eq!((array.slice(8..).unwrap(), array.slice(..=1).unwrap()), (vec![8.0, 9.0], vec![0.0, 1.0]));
    assert_eq!(array.slice(10..).unwrap(), []);
    array.set_slice(8, vec![80.0, 90.0]).unwrap();
    array.set(0, -0.5).unwrap();
    let outside = |index| Refusal::OutOfRange { index, len: 10 };
    assert_eq!(refusal(array.get(10)), outside(10));
    assert_eq!(refusal(array.set(usize::MAX, 0.0)), outside(u64::MAX));
    assert_eq!(refusal(array.slice(9..11)), outside(10));
    assert_eq!(refusal(array.set_slice(9, vec![1.0, 2.0])), outside(10));
    assert_eq!(refusal(array.update(10, |number| number)), outside(10));
    assert_eq!(array.to_vec().unwrap(), [-0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 80.0, 90.0], "as it was");
    let panicked = refusal(array.update(0, |_| panic!("no numbers")));
    assert!(matches!(&panicked, Refusal::Panicked { message, .. } if message == "no numbers"), "{panicked}");
    array.fill(7.0).unwrap();
    assert!(array.iter().all(|number| number.unwrap() == 7.0));
    manager.publish("array", &array).unwrap();
    let wrong: ArrayProxy<u64> = manager.get("array").unwrap();
    for refused in [wrong.set(0, 1), wrong.fill(1), wrong.update(0, |number| number).map(drop), wrong.len().map(drop)] {
        let refused = refusal(refused);
        assert!(matches!(&refused, Refusal::Arguments { reason } if reason.contains("array of f64")), "{refused}");
    }
    assert_eq!(array.get(0).unwrap(), 7.0);
    let none = manager.array::<u8>([]).unwrap();
    assert!(none.is_empty().unwrap() && none.iter().next().is_none());
    let many = manager.array(0..1_000_000_u32).unwrap();
    assert!(many.iter().map(Result::unwrap).eq(0..1_000_000), "in several batches");
}

fn an_array_loses_no_update(method: StartMethod) {
    let manager = manager(method);
    let array = manager.array([0_u64; 3]).unwrap();
    let adds = |array: ArrayProxy<u64>| {
        for step in 0..90 {
            array.update(step % 3, |number| number + 1).unwrap();
        }
    };
    let children: Vec<_> = (0..4).map(|_| Context::new(method).start(adds, (array.clone(),)).unwrap()).collect();
    children.into_iter().for_each(|child| child.join().unwrap());
    assert_eq!(array.to_vec().unwrap(), [120; 3]);
}

fn functions_change_values_in_their_place(method: StartMethod) {
    let manager = manager(method);
    let lines: DictProxy<String, Vec<u64>> = manager.dict().unwrap();
    let key = "numbers".to_owned();
    let push = |numbers: &mut Vec<u64>, (number, most): (u64, usize)| {
        if numbers.len() < most {
            numbers.push(number);
        }
        numbers.len()
    };
    assert_eq!(lines.with(&key, push, (1, 2)).unwrap(), None, "nothing is there, and nothing is made");
    assert_eq!(lines.get_or_insert_with(key.clone(), || vec![7]).unwrap(), [7]);
    assert_eq!(lines.get_or_insert_with(key.clone(), || panic!("it is there")).unwrap(), [7]);
    let adds = |lines: DictProxy<String, Vec<u64>>, key: String| {
        for number in 0..50 {
            lines.with(&key, |numbers, number: u64| numbers.push(number), number).unwrap();
        }
    };
    let start = || Context::new(method).start(adds, (lines.clone(), key.clone())).unwrap();
    let children: Vec<_> = (0..3).map(|_| start()).collect();
    children.into_iter().for_each(|child| child.join().unwrap());
    assert_eq!(lines.get(&key).unwrap().unwrap().len(), 151, "no change is lost");
    assert_eq!(lines.with(&key, push, (1, 2)).unwrap(), Some(151));
    let panicked = refusal(lines.with(&key, |numbers, (): ()| -> () { panic!("{} of them", numbers.len()) }, ()));
    assert!(matches!(&panicked, Refusal::Panicked { message, .. } if message == "151 of them"), "{panicked}");
    assert!(matches!(refusal(lines.get_or_insert_with(String::new(), || panic!("none"))), Refusal::Panicked { .. }));
    assert!(!lines.contains_key(&String::new()).unwrap());
}

fn lists_and_dictionaries_do_what_pythons_do() {
    let manager = SyncManager::start().unwrap();
    let list: ListProxy<Vec<i64>> = manager.list().unwrap();
    list.extend([vec![1], vec![2], vec![1]]).unwrap();
    assert!(list.remove_item(&vec![1]).unwrap() && !list.remove_item(&vec![9]).unwrap());
    assert_eq!(list.to_vec().unwrap(), [vec![2], vec![1]]);
    let popped = list.with(0, |item, more: i64| (item.pop(), item.push(more)).0, 5).unwrap();
    assert_eq!((popped, list.get(0).unwrap()), (Some(2), Some(vec![5])));
    assert_eq!(refusal(list.with(2, |_, (): ()| (), ())), Refusal::OutOfRange { index: 2, len: 2 });
    let dict: DictProxy<String, u64> = manager.dict().unwrap();
    dict.insert("a".to_owned(), 1).unwrap();
    dict.extend([("b".to_owned(), 2), ("a".to_owned(), 3)]).unwrap();
    let items: Vec<(String, u64)> = dict.iter().map(Result::unwrap).collect();
    assert_eq!(items, [("a".to_owned(), 3), ("b".to_owned(), 2)]);
    let value = manager.value(String::from("text")).unwrap();
    assert_eq!(value.with(|text, more: char| (text.push(more), text.len()).1, 's').unwrap(), 5);
    assert_eq!(value.get().unwrap(), "texts");
}

/// A pool in the server's process.
#[derive(Debug)]
pub(crate) struct Workers(Pool);

#[shared]
impl Workers {
    pub(crate) fn new(count: usize) -> Result<Self, procession_wire::Fault> {
        Ok(Self(Pool::builder().processes(count).build()?))
    }

    pub(crate) fn squares(&self, numbers: Vec<u64>) -> Result<Vec<u64>, procession_wire::Fault> {
        Ok(self.0.map(|number: u64| number * number, numbers)?)
    }
}

fn a_pool_is_part_of_an_object(method: StartMethod) {
    let manager = BaseManager::builder().context(Context::new(method)).register::<Workers>("Workers").start().unwrap();
    let workers = manager.create::<Workers>((2,)).unwrap();
    let uses = |workers: WorkersProxy| workers.squares((1..=4).collect()).unwrap().unwrap();
    let child = Context::new(method).start(uses, (workers.clone(),)).unwrap();
    assert_eq!(child.join().unwrap(), [1, 4, 9, 16]);
    assert_eq!(workers.squares(vec![5]).unwrap().unwrap(), [25]);
    drop(workers);
    manager.shutdown().unwrap();
}

procession_testkit::main! {
    warm_up: warm_up;
    cases for methods(), [
        an_initializer_runs_in_the_server,
        an_initializer_that_fails_is_told,
        an_initializer_that_takes_too_long_is_told,
        what_is_registered_is_every_clients,
        a_server_that_cannot_listen_says_where_and_why,
        an_array_loses_no_update,
        functions_change_values_in_their_place,
        a_pool_is_part_of_an_object,
    ];
    cases: [
        a_server_that_does_not_end_is_killed_in_time,
        an_array_has_its_length_and_type,
        lists_and_dictionaries_do_what_pythons_do,
        a_name_is_registered_once,
        an_object_is_got_as_what_it_is,
        the_two_kinds_of_queues_are_told_apart,
        a_manager_is_called_what_it_is,
        a_refusal_names_its_object,
    ];
}
