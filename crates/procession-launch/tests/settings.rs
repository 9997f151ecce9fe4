//! What a child sets for itself, seen from inside it by the kernel's own files, whichever way it was started.

mod common;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use common::{SOON, block, hear, methods, pipe, tell, wait_for};
use procession_launch::{
    Arguments, Builder, Context, JoinError, NAME_BYTES_MAX, Process, Resource, StartError, StartMethod, Stdio,
    TITLE_BYTES_MAX, Target, cpu_count,
};
use procession_sys::{
    Deadline, Interest, PROCESSORS_MAX, Scarcity, become_user, group_and_session, is_root, limit, niceness, pid,
    poll_one, processors, run_on, set_command_line, set_umask, set_variable,
};
use procession_testkit::{children_of, unique_name};
use procession_wire::Descriptor;

procession_testkit::main! {
    warm_up: common::warm_up;
    cases for methods(), [
        an_affinity_holds_in_the_child,
        each_limit_holds_in_the_child,
        a_limit_can_be_taken_away,
        the_last_word_on_a_setting_holds,
        an_allocation_over_the_memory_limit_aborts_the_child,
        shared_memory_is_not_in_the_memory_limit,
        a_niceness_holds_in_the_child,
        a_umask_holds_in_the_child,
        a_title_is_what_ps_shows_and_nothing_else,
        a_child_leads_or_enters_a_process_group,
        a_new_session_is_the_childs_own,
        all_settings_hold_at_once_and_for_grandchildren,
        an_affinity_of_a_running_child_reaches_all_threads,
        an_affinity_of_a_running_child_reaches_threads_that_begin_meanwhile,
        an_affinity_of_a_child_that_has_ended_is_an_error,
        a_name_that_is_too_long_is_an_error_that_is_not,
        what_no_child_can_be_is_an_error_before_anything_starts,
        what_the_system_refuses_is_an_error_of_the_join,
    ];
}

/// A child to be given settings.
fn described<F: Target<A>, A: Arguments>(method: StartMethod, target: F, arguments: A) -> Builder<F, A> {
    Context::new(method).builder(target, arguments).name("planned")
}

/// A value in a file of `/proc` such as `status`, by its name.
fn value(file: &str, name: &str) -> String {
    let text = fs::read_to_string(file).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).trim().to_owned()
}

/// A value in the status of the process that asks.
fn own_status(name: String) -> String {
    value("/proc/self/status", &name)
}

fn an_affinity_holds_in_the_child(method: StartMethod) {
    let all = processors().unwrap();
    for processor in [all[0], all[all.len() - 1]] {
        let child = described(method, own_status, ("Cpus_allowed_list".into(),)).cpu_affinity([processor]);
        assert_eq!(child.start().unwrap().join().unwrap(), processor.to_string());
        let count = described(method, cpu_count, ()).cpu_affinity([processor, PROCESSORS_MAX - 1]);
        assert_eq!(count.start().unwrap().join().unwrap(), 1);
    }
    assert_eq!(processors().unwrap(), all, "this process keeps its own");
    run_on(&all[..1]).unwrap();
    let child = described(method, own_status, ("Cpus_allowed_list".into(),)).cpu_affinity([all[all.len() - 1]]);
    assert_eq!(child.start().unwrap().join().unwrap(), all[all.len() - 1].to_string(), "its own, not its parent's");
}

/// What the kernel calls each limit in `/proc/PID/limits`, in the order of [`Resource::ALL`].
const IN_LIMITS: [&str; 16] = [
    "Max cpu time",
    "Max file size",
    "Max data size",
    "Max stack size",
    "Max core file size",
    "Max resident set",
    "Max processes",
    "Max open files",
    "Max locked memory",
    "Max address space",
    "Max file locks",
    "Max pending signals",
    "Max msgqueue size",
    "Max nice priority",
    "Max realtime priority",
    "Max realtime timeout",
];

/// Soft and hard limit of the process that asks, in the kernel's words.
fn own_limit(at: usize) -> (String, String) {
    let text = fs::read_to_string("/proc/self/limits").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(IN_LIMITS[at])).unwrap();
    let mut columns = line.split_whitespace().map(str::to_owned);
    (columns.next().unwrap(), columns.next().unwrap())
}

/// Values that leave the child alive, and that no limit has by itself.
fn unusual(resource: Resource) -> (u64, u64) {
    match resource {
        Resource::Data | Resource::AddressSpace | Resource::FileSize | Resource::ResidentSet => (1 << 40, 1 << 41),
        Resource::Stack => (3 << 20, 5 << 20),
        Resource::Nice | Resource::RealtimePriority => (3, 7),
        _ => (777, 888),
    }
}

fn each_limit_holds_in_the_child(method: StartMethod) {
    for (at, resource) in Resource::ALL.into_iter().enumerate() {
        let before = own_limit(at);
        let most = before.1.parse().unwrap_or(Resource::UNLIMITED);
        let (soft, hard) = unusual(resource);
        let (soft, hard) = (soft.min(most), hard.min(most));
        let child = described(method, own_limit, (at,)).rlimit(resource, soft, hard).start().unwrap();
        assert_eq!(child.join().unwrap(), (soft.to_string(), hard.to_string()), "{resource}");
        assert_eq!(own_limit(at), before, "{resource} of this process");
    }
}

fn a_limit_can_be_taken_away(method: StartMethod) {
    let core = Resource::ALL.iter().position(|resource| *resource == Resource::Core).unwrap();
    if own_limit(core).1 != "unlimited" {
        return; // Root at most could take that away.
    }
    limit(Scarcity::CoreFile, Some(0)).unwrap();
    let child = described(method, own_limit, (core,)).rlimit(Resource::Core, Resource::UNLIMITED, Resource::UNLIMITED);
    assert_eq!(child.start().unwrap().join().unwrap(), ("unlimited".into(), "unlimited".into()));
}

fn the_last_word_on_a_setting_holds(method: StartMethod) {
    let open_files = Resource::ALL.iter().position(|resource| *resource == Resource::OpenFiles).unwrap();
    let child = described(method, own_limit, (open_files,));
    let child = child.rlimit(Resource::OpenFiles, 60, 70).rlimit(Resource::OpenFiles, 80, 90).start().unwrap();
    assert_eq!(child.join().unwrap(), ("80".into(), "90".into()), "also if the first one was lower");
}

/// Bytes that a child gets, and that one over it asks for.
const CAP: u64 = 256 << 20;
const OVER: usize = 1 << 30;

fn allocate(bytes: usize) -> usize {
    black_box(Vec::<u8>::with_capacity(black_box(bytes))).capacity()
}

fn an_allocation_over_the_memory_limit_aborts_the_child(method: StartMethod) {
    let within = described(method, allocate, (32 << 20,)).memory_limit(CAP).start().unwrap();
    assert!(within.join().unwrap() >= 32 << 20);
    let over = described(method, allocate, (OVER,)).memory_limit(CAP).rlimit(Resource::Core, 0, 0);
    let over = over.stderr(Stdio::pipe()).start().unwrap();
    let mut said = String::new();
    over.take_stderr().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains(&format!("memory allocation of {OVER} bytes failed")), "{said}");
    let error = over.join().unwrap_err();
    assert!(matches!(error, JoinError::Signaled { signal: 6, .. }), "{error}");
    assert!(described(method, allocate, (OVER,)).start().unwrap().join().unwrap() >= OVER, "without a limit");
}

/// Maps a file of one GiB for all to see, and uses both ends of it.
fn map_shared(file: Descriptor) -> u64 {
    let file = common::file(file);
    let map = memmap2::MmapRaw::map_raw(&file).unwrap();
    black_box(&map);
    map.len() as u64
}

fn shared_memory_is_not_in_the_memory_limit(method: StartMethod) {
    let path = std::env::temp_dir().join(unique_name());
    let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    fs::remove_file(path).unwrap();
    file.set_len(OVER as u64).unwrap();
    let plan = || {
        let file = Descriptor::from(std::os::fd::OwnedFd::from(file.try_clone().unwrap()));
        described(method, map_shared, (file,))
    };
    assert_eq!(plan().memory_limit(CAP).start().unwrap().join().unwrap(), OVER as u64);
    let error = plan().rlimit(Resource::AddressSpace, CAP, CAP).start().unwrap().join().unwrap_err();
    assert!(matches!(error, JoinError::Panicked { .. }), "it counts among the addresses: {error}");
}

fn a_niceness_holds_in_the_child(method: StartMethod) {
    let own = niceness().unwrap();
    for wanted in [own.max(7), 19] {
        let child = described(method, || niceness().unwrap(), ()).niceness(wanted).start().unwrap();
        assert_eq!(child.join().unwrap(), wanted);
    }
    assert_eq!(niceness().unwrap(), own);
    if is_root() {
        let child = described(method, || niceness().unwrap(), ()).niceness(-20).start().unwrap();
        assert_eq!(child.join().unwrap(), -20);
    }
}

/// The mask in the kernel's words, and the permissions of a new file.
fn own_umask(path: String) -> (String, u32) {
    let file = File::options().write(true).create_new(true).open(&path).unwrap();
    fs::remove_file(path).unwrap();
    (own_status("Umask".into()), file.metadata().unwrap().permissions().mode() & 0o777)
}

fn a_umask_holds_in_the_child(method: StartMethod) {
    set_umask(0o002);
    let path = std::env::temp_dir().join(unique_name()).to_str().unwrap().to_owned();
    let child = described(method, own_umask, (path.clone(),)).umask(0o057).start().unwrap();
    assert_eq!(child.join().unwrap(), ("0057".into(), 0o620));
    let child = described(method, own_umask, (path,)).start().unwrap();
    assert_eq!(child.join().unwrap(), ("0002".into(), 0o664), "this process's own");
}

/// What others see: the command's name, its line, and the environment; and what the process itself sees.
fn own_words() -> [String; 4] {
    // The heap grows, so that an end of it that the kernel was told wrongly would be noticed.
    let pieces: Vec<Vec<u8>> = (0..10_000).map(|piece| vec![piece as u8; 5000]).collect();
    assert!(black_box(pieces).iter().enumerate().all(|(piece, bytes)| bytes.iter().all(|byte| *byte == piece as u8)));
    let text = |file| String::from_utf8(fs::read(file).unwrap()).unwrap();
    let arguments: Vec<String> = std::env::args().collect();
    [text("/proc/self/comm"), text("/proc/self/cmdline"), text("/proc/self/environ"), arguments.join("\0")]
}

fn a_title_is_what_ps_shows_and_nothing_else(method: StartMethod) {
    set_variable("A_VARIABLE", "with a value").unwrap();
    let usual = described(method, own_words, ()).start().unwrap().join().unwrap();
    let longest = "t".repeat(TITLE_BYTES_MAX);
    let has_lines = set_command_line(b"a test").is_ok();
    for title in ["short", "a title with blanks, longer than what it stands in for", &longest] {
        let child = described(method, own_words, ()).title(title).start().unwrap();
        let [name, line, environment, arguments] = child.join().unwrap();
        assert_eq!(name.trim_end_matches('\n'), &title[..title.len().min(15)]);
        assert_eq!(line, if has_lines { format!("{title}\0") } else { usual[1].clone() });
        assert_eq!([&environment, &arguments], [&usual[2], &usual[3]]);
    }
}

fn own_group_and_session() -> (u32, u32, u32) {
    let (group, session) = group_and_session().unwrap();
    (pid(), group, session)
}

/// Says that it runs, in whatever group, and waits.
fn tell_and_wait(to: Descriptor, from: Descriptor) {
    tell(&to);
    wait_for(from);
}

fn a_child_leads_or_enters_a_process_group(method: StartMethod) {
    let (own_group, own_session) = group_and_session().unwrap();
    let (number, group, session) =
        described(method, own_group_and_session, ()).process_group(0).start().unwrap().join().unwrap();
    assert_eq!((group, session), (number, own_session));
    let ((ready, told), (from, end)) = (pipe(), pipe());
    let leader = described(method, tell_and_wait, (told, from)).process_group(0).start().unwrap();
    hear(&ready);
    let member = described(method, own_group_and_session, ()).process_group(leader.pid()).start().unwrap();
    assert_eq!(member.join().unwrap().1, leader.pid());
    tell(&end);
    leader.join().unwrap();
    let plain = described(method, own_group_and_session, ()).start().unwrap().join().unwrap();
    assert_eq!((plain.1, plain.2), (own_group, own_session));
}

fn a_new_session_is_the_childs_own(method: StartMethod) {
    let child = described(method, own_group_and_session, ()).new_session();
    let (number, group, session) = child.start().unwrap().join().unwrap();
    assert_eq!((group, session), (number, number));
    let child = described(method, own_group_and_session, ()).process_group(0).new_session();
    let (number, group, session) = child.start().unwrap().join().unwrap();
    assert_eq!((group, session), (number, number), "which has a group of its own");
}

/// Everything that a process hands down, and the same of a child of its own.
fn two_generations(method: StartMethod, deeper: bool) -> Vec<(usize, (String, String), String, i32)> {
    let own = (cpu_count(), own_limit(7), own_status("Umask".into()), niceness().unwrap());
    let mut all = vec![own];
    if deeper {
        all.extend(common::start(method, two_generations, (method, false)).join().unwrap());
    }
    all
}

fn all_settings_hold_at_once_and_for_grandchildren(method: StartMethod) {
    let child = described(method, two_generations, (method, true)).cpu_affinity([processors().unwrap()[0]]).umask(0o71);
    let child = child.title("all").rlimit(Resource::OpenFiles, 90, 100).memory_limit(CAP).new_session().niceness(19);
    let expected = (1, ("90".into(), "100".into()), "0071".into(), 19);
    assert_eq!(child.own_tree().start().unwrap().join().unwrap(), [expected.clone(), expected]);
}

/// Starts two more threads, says so, and waits.
fn have_three_threads(to: Descriptor) {
    for _ in 0..2 {
        thread::spawn(block);
    }
    tell(&to);
    block();
}

/// The distinct processors of a process's threads, and how many threads it has.
fn processors_of_threads(pid: u32) -> (BTreeSet<String>, usize) {
    let threads: Vec<_> = fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|entry| entry.unwrap()).collect();
    let statuses = threads.iter().filter_map(|thread| fs::read_to_string(thread.path().join("status")).ok());
    let allowed = |status: String| {
        status.lines().find_map(|line| Some(line.strip_prefix("Cpus_allowed_list:")?.trim().to_owned()))
    };
    (statuses.filter_map(allowed).collect(), threads.len())
}

fn an_affinity_of_a_running_child_reaches_all_threads(method: StartMethod) {
    let all = processors().unwrap();
    let (ready, told) = pipe();
    let child = common::start(method, have_three_threads, (told,));
    hear(&ready);
    assert_eq!(child.cpu_affinity().unwrap(), all);
    for processor in [all[0], all[all.len() - 1]] {
        child.set_cpu_affinity([processor]).unwrap();
        assert_eq!(child.cpu_affinity().unwrap(), [processor]);
        assert_eq!(processors_of_threads(child.pid()), ([processor.to_string()].into(), 3));
    }
    for (processors, problem) in [
        (vec![], "it names no processor"),
        (vec![PROCESSORS_MAX], "there is no processor 4096"),
        (vec![PROCESSORS_MAX - 1], "it can run on none of the processors [4095]"),
    ] {
        let error = child.set_cpu_affinity(processors).unwrap_err().to_string();
        let before = format!("cannot set the processors of process {:?} (pid {})", child.name(), child.pid());
        assert!(error.starts_with(&before) && error.contains(problem), "{error}");
    }
    assert_eq!(processors().unwrap(), all, "this process keeps its own");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Goes on starting threads that end at once, until it hears a byte.
fn churn_threads(to: Descriptor, from: Descriptor) {
    let ended = Arc::new(AtomicBool::new(false));
    let starters: Vec<_> = (0..2)
        .map(|_| {
            let ended = Arc::clone(&ended);
            thread::spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    let inner = thread::spawn(|| thread::spawn(|| ()).join());
                    let _ = inner.join();
                }
            })
        })
        .collect();
    tell(&to);
    wait_for(from);
    ended.store(true, Ordering::Relaxed);
    starters.into_iter().for_each(|starter| starter.join().unwrap());
}

fn an_affinity_of_a_running_child_reaches_threads_that_begin_meanwhile(method: StartMethod) {
    let all = processors().unwrap();
    let ((ready, told), (from, end)) = (pipe(), pipe());
    let child = common::start(method, churn_threads, (told, from));
    hear(&ready);
    for round in 0..20 {
        let processor = all[round % all.len()];
        child.set_cpu_affinity([processor]).unwrap();
        let (seen, _) = processors_of_threads(child.pid());
        assert_eq!(seen, [processor.to_string()].into(), "round {round}");
    }
    tell(&end);
    child.join().unwrap();
}

fn an_affinity_of_a_child_that_has_ended_is_an_error(method: StartMethod) {
    let child = common::start(method, || (), ());
    assert!(poll_one(child.sentinel(), Interest::Read, Deadline::after(SOON)).unwrap());
    let refused = || [child.set_cpu_affinity([0]).unwrap_err(), child.cpu_affinity().unwrap_err()];
    let before_it_is_reaped = refused(); // By this process, or maybe by the forkserver.
    child.wait().unwrap();
    for error in before_it_is_reaped.into_iter().chain(refused()) {
        let error = error.to_string();
        assert!(error.contains("the processors of process \"Process-") && error.contains("(pid "), "{error}");
    }
}

fn a_name_that_is_too_long_is_an_error_that_is_not(method: StartMethod) {
    let named = |bytes: usize| described(method, || (), ()).name("n".repeat(bytes)).start();
    named(NAME_BYTES_MAX).unwrap().join().unwrap();
    let error = named(100_000).unwrap_err().to_string();
    assert!(error.contains("100000 bytes") && error.len() < 200, "{error}");
}

fn what_no_child_can_be_is_an_error_before_anything_starts(method: StartMethod) {
    let before = children_of(pid()).len();
    let plan = || described(method, || (), ());
    let starts = [
        ("cpu_affinity", plan().cpu_affinity([]).start(), "names no processor"),
        ("cpu_affinity", plan().cpu_affinity([0, PROCESSORS_MAX]).start(), "no processor 4096"),
        ("rlimit", plan().rlimit(Resource::Stack, 2, 1).start(), "the soft limit of RLIMIT_STACK, 2, is above"),
        ("niceness", plan().niceness(-21).start(), "-21 is not from -20 to 19"),
        ("niceness", plan().niceness(20).start(), "20 is not"),
        ("umask", plan().umask(0o1000).start(), "0o1000 is not"),
        ("title", plan().title("").start(), "empty"),
        ("title", plan().title("a\0b").start(), "NUL"),
        ("title", plan().title("t".repeat(TITLE_BYTES_MAX + 1)).start(), "4097 bytes"),
        ("process_group", plan().process_group(u32::MAX).start(), "no number of a group"),
        ("process_group", plan().process_group(pid()).new_session().start(), "a group of its own"),
    ];
    for (setting, started, problem) in starts {
        let error = started.expect_err(setting);
        let words = error.to_string();
        assert!(words.starts_with(&format!("cannot start process \"planned\": {setting}: ")), "{words}");
        assert!(words.contains(problem) && !words.ends_with('.'), "{words}");
        assert!(matches!(error, StartError::Setting { setting: named, .. } if named == setting), "{words}");
    }
    assert_eq!(children_of(pid()).len(), before);
}

/// What the child says of a setting that it cannot have.
fn refusal(started: Result<Process<()>, StartError>) -> String {
    match started.unwrap().join().unwrap_err() {
        JoinError::Refused { name, message, .. } if name == "planned" => message,
        error => panic!("{error}"),
    }
}

/// A user that no process here belongs to.
const NOBODY: u32 = 65534;

/// What children say of settings that they cannot have, where this process may not do more than anybody.
fn refusals(method: StartMethod) -> [String; 4] {
    if is_root() {
        become_user(NOBODY, NOBODY).unwrap();
    }
    let plan = || described(method, || unreachable!("the target ran"), ());
    let gone = described(method, || (), ()).start().unwrap();
    gone.wait().unwrap();
    let lowered = described(method, raise_again, (method,)).rlimit(Resource::OpenFiles, 90, 100).start().unwrap();
    [
        refusal(plan().niceness(-20).start()),
        refusal(plan().cpu_affinity([PROCESSORS_MAX - 1]).start()),
        refusal(plan().process_group(gone.pid()).start()),
        lowered.join().unwrap(),
    ]
}

fn what_the_system_refuses_is_an_error_of_the_join(method: StartMethod) {
    let said = common::start(StartMethod::Spawn, refusals, (method,)).join().unwrap();
    let expected = [
        ["its niceness cannot be set", "CAP_SYS_NICE"],
        ["its cpu_affinity cannot be set", "name some"],
        ["its process_group cannot be set", "0 for a new one"],
        ["its limit of RLIMIT_NOFILE cannot be set", "CAP_SYS_RESOURCE"],
    ];
    for (message, words) in said.iter().zip(expected) {
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    }
}

/// Tries to give a child more than this process may have itself.
fn raise_again(method: StartMethod) -> String {
    refusal(described(method, || (), ()).rlimit(Resource::OpenFiles, 90, 101).start())
}
