//! What a child is started with.

use std::ffi::{OsStr, OsString};
use std::io;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use procession_boot::{FunctionId, bequests};
use procession_sys::{PidFd, current_dir, discard_child, is_variable};
use procession_wire::{Descriptor, EncodeError, Encoder, Message};

use crate::child::{About, Child, Pipes};
use crate::context::{Context, StartMethod, get_start_method};
use crate::current::{self, current_process};
use crate::error::StartError;
use crate::fork::Proof;
use crate::forkserver::Source;
use crate::passable::{Arguments, Passable};
use crate::patience::Patience;
use crate::process::Process;
use crate::protocol::{Handover, Report, Setup, is_gone};
use crate::settings::Settings;
use crate::stdio::{ChildEnds, Stdio, Streams};
use crate::target::{Target, call_closure, name_target};
use crate::{authkey, body, fork, forkserver, logs, registry, spawn};

/// A child that has not been started: its name, its surroundings, its start method.
///
/// # Examples
/// ```
/// use procession_launch::{Process, StartMethod};
///
/// let child = Process::builder(|| std::env::var("GREETING").unwrap(), ())
///     .name("greeter")
///     .start_method(StartMethod::Spawn)
///     .env("GREETING", "hello")
///     .start()?;
/// assert_eq!(child.name(), "greeter");
/// assert_eq!(child.join()?, "hello");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing until `start`"]
pub struct Builder<F, A> {
    target: F,
    arguments: A,
    plan: Plan,
}

/// The longest name of a process, in bytes: it stands in every error and every log line about the process.
pub const NAME_BYTES_MAX: usize = 255;

/// How many characters of a name that is too long an error shows.
const NAME_CHARS_SHOWN: usize = 32;

/// In place of a target's type: a closure that a copy of this process runs. See
/// [`Context::fork_builder`](crate::Context::fork_builder).
#[derive(Debug)]
pub struct Forked<F>(pub(crate) F);

/// All of a builder but what has a type of its own.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) name: String,
    pub(crate) lineage: Vec<u32>,
    pub(crate) daemon: bool,
    pub(crate) method: StartMethod,
    pub(crate) executable: Option<Arc<Path>>,
    pub(crate) source: Option<Arc<Source>>,
    pub(crate) env: EnvChanges,
    pub(crate) directory: Option<PathBuf>,
    pub(crate) streams: Streams,
    pub(crate) settings: Settings,
    pub(crate) patience: Patience,
    /// Whether the child's log comes here,
    pub(crate) forward_logs: bool,
    /// and the child's end of it.
    pub(crate) log: Option<Descriptor>,
}

impl<F, A> Builder<F, A>
where
    F: Target<A>,
    A: Arguments,
{
    /// Starts the child.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left behind.
    pub fn start(self) -> Result<Process<F::Output>, StartError>
    where
        F::Output: Passable,
    {
        let Self { target, arguments, plan } = self;
        let function =
            name_target::<F, A>(target).map_err(|error| StartError::Image { name: plan.name.clone(), error })?;
        let call = encode_call(function, &arguments)
            .map_err(|error| StartError::Arguments { name: plan.name.clone(), error })?;
        drop(arguments);
        plan.start(call).map(Process::new)
    }
}

impl<F, R> Builder<Forked<F>, ()>
where
    F: FnOnce() -> R,
    R: Passable,
{
    /// Starts the child.
    ///
    /// # Errors
    /// As [`Context::fork`].
    pub fn start(self) -> Result<Process<R>, StartError> {
        self.fork(Proof::Needed)
    }

    /// Starts the child though this process may have other threads; see [`Context::fork_unchecked`].
    pub(crate) fn start_unproven(self) -> Result<Process<R>, StartError> {
        self.fork(Proof::CallersWord)
    }

    fn fork(self, proof: Proof) -> Result<Process<R>, StartError> {
        let Self { target: Forked(closure), plan, .. } = self;
        plan.fork(proof, move || call_closure(closure)).map(Process::new)
    }
}

impl<F, A> Builder<F, A> {
    /// With the defaults. The child's number is taken here, as in Python, not at the start.
    pub(crate) fn new(target: F, arguments: A) -> Self {
        let lineage = current::next_lineage();
        let name = current::default_name(&lineage);
        let plan = Plan { lineage, daemon: current_process().is_daemon(), ..Plan::named(name, get_start_method()) };
        Self { target, arguments, plan }
    }

    /// The process's name, by default `Process-N`, of at most [`NAME_BYTES_MAX`] bytes. It need not be unique. An empty
    /// one keeps the default.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        let name = name.into();
        if !name.is_empty() {
            self.plan.name = name;
        }
        self
    }

    /// Whether this process's normal end terminates the child instead of waiting for it; by default what holds for
    /// this process itself.
    pub fn daemon(mut self, daemon: bool) -> Self {
        self.plan.daemon = daemon;
        self
    }

    /// How it is started, by default as [`get_start_method`] says.
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.plan.method = method;
        self
    }

    /// Sets a variable in the child's environment, on top of what this process has when the child starts.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.plan.env.set(name.as_ref(), Some(value.as_ref()));
        self
    }

    /// Takes a variable out of the child's environment.
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.plan.env.set(name.as_ref(), None);
        self
    }

    /// Empties the child's environment, but for what is set after this call.
    pub fn env_clear(mut self) -> Self {
        self.plan.env = EnvChanges { clear: true, changes: Vec::new() };
        self
    }

    /// The directory that the child begins in, by default this process's own when the child starts.
    pub fn current_dir(mut self, path: impl AsRef<Path>) -> Self {
        self.plan.directory = Some(path.as_ref().to_owned());
        self
    }

    /// The child's standard input, by default `/dev/null`.
    pub fn stdin(mut self, stdin: Stdio) -> Self {
        self.plan.streams.stdin = stdin;
        self
    }

    /// The child's standard output, by default this process's own.
    pub fn stdout(mut self, stdout: Stdio) -> Self {
        self.plan.streams.stdout = stdout;
        self
    }

    /// The child's standard error, by default this process's own.
    pub fn stderr(mut self, stderr: Stdio) -> Self {
        self.plan.streams.stderr = stderr;
        self
    }

    /// Takes start method and executable from a context.
    pub(crate) fn context(mut self, context: &Context) -> Self {
        self.plan.method = context.start_method();
        self.plan.executable = context.executable_path().cloned();
        self.plan.source = context.source().cloned();
        self
    }

    /// For settings that stand in files of their own.
    pub(crate) fn plan_mut(&mut self) -> &mut Plan {
        &mut self.plan
    }
}

/// The message that names the target and holds its arguments.
fn encode_call<A: Arguments>(function: FunctionId, arguments: &A) -> Result<Message, EncodeError> {
    let mut encoder = Encoder::new();
    encoder.value(&function)?;
    arguments.encode(&mut encoder)?;
    Ok(encoder.finish())
}

impl Plan {
    /// With nothing but a name and a method: all that a process has which runs no target.
    pub(crate) fn named(name: String, method: StartMethod) -> Self {
        Self {
            name,
            lineage: Vec::new(),
            daemon: false,
            method,
            executable: None,
            source: None,
            env: EnvChanges::default(),
            directory: None,
            streams: Streams::default(),
            settings: Settings::default(),
            patience: Patience::default(),
            forward_logs: false,
            log: None,
        }
    }

    /// The part of a start that does not depend on the target's type.
    fn start(mut self, call: Message) -> Result<Child, StartError> {
        let (ends, pipes) = self.prepare()?;
        let source = self.source.take();
        let child = match (self.method, source) {
            (StartMethod::ForkServer, None) => forkserver::start(&self, forkserver::shared(), &call, ends, pipes),
            (_, Some(source)) => forkserver::start(&self, &source, &call, ends, pipes),
            (StartMethod::Spawn, None) => spawn::start(&self, &call, ends, pipes),
            (StartMethod::Fork, None) => {
                fork::start(&self, Proof::Needed, ends, pipes, || body::call(call.into_decoder()))
            }
        }?;
        self.enter(child)
    }

    /// The same for a copy of this process that runs what cannot be named.
    fn fork(mut self, proof: Proof, target: impl FnOnce() -> Result<Message, Report>) -> Result<Child, StartError> {
        if self.method != StartMethod::Fork {
            let problem = "a closure that captures can only be forked";
            return Err(StartError::Method { name: self.name, method: self.method, problem });
        }
        let (ends, pipes) = self.prepare()?;
        let mut target = Some(target);
        let run_once = || match target.take() {
            Some(target) => target(),
            None => unreachable!("a copy runs its target once"),
        };
        let child = fork::start(&self, proof, ends, pipes, run_once)?;
        let child = self.enter(child)?;
        drop(target); // Not before, for a destructor of what it captured may panic.
        Ok(child)
    }

    /// What comes after it.
    fn enter(&self, child: Child) -> Result<Child, StartError> {
        child.attach().map_err(self.failed("start the thread that reads its output and its log"))?;
        registry::enter(&child);
        Ok(child)
    }

    /// What comes before a start of any kind.
    fn prepare(&mut self) -> Result<(ChildEnds, Pipes), StartError> {
        if let Some(variable) = self.env.impossible() {
            return Err(StartError::Environment { name: self.name.clone(), variable: variable.to_owned() });
        }
        if self.name.len() > NAME_BYTES_MAX {
            let problem = format!("it has {} bytes, and at most {NAME_BYTES_MAX} are kept", self.name.len());
            let cut = self.name.chars().take(NAME_CHARS_SHOWN).collect();
            return Err(StartError::Setting { name: cut, setting: "name", problem });
        }
        self.settings.check(&self.name)?;
        if self.streams.stdin.is_tail() {
            return Err(StartError::TailOfInput { name: self.name.clone() });
        }
        registry::prepare().map_err(self.failed("register an exit handler"))?;
        registry::reap_abandoned();
        let (ends, mut pipes) = mem::take(&mut self.streams).open().map_err(self.failed("open its streams"))?;
        if self.forward_logs {
            let (log, theirs) = logs::open(&self.name).map_err(self.failed("make the socket of its log"))?;
            (pipes.log, self.log) = (Some(log), Some(theirs));
        }
        Ok((ends, pipes))
    }

    /// The message that says what the child is.
    pub(crate) fn setup_message(
        &self,
        directory: Option<Descriptor>,
        inherited: Option<Handover>,
    ) -> Result<Message, StartError> {
        let setup = self.setup(directory, inherited)?;
        procession_wire::encode(&setup).map_err(|error| StartError::Arguments { name: self.name.clone(), error })
    }

    /// What the child is.
    pub(crate) fn setup(
        &self,
        directory: Option<Descriptor>,
        inherited: Option<Handover>,
    ) -> Result<Setup, StartError> {
        let parent = current_process();
        Ok(Setup {
            name: self.name.clone(),
            lineage: self.lineage.clone(),
            daemon: self.daemon,
            start_method: self.method,
            default_method: get_start_method(),
            authkey: authkey::own().map_err(self.failed("make an authentication key"))?,
            bequests: bequests(),
            parent_pid: parent.pid(),
            parent_name: parent.name().to_owned(),
            directory,
            inherited,
            settings: self.settings.for_child(),
            logs: logs::setup(self.log.clone()),
        })
    }

    /// Holds a process that was just started by a pidfd. One that cannot be held is ended, and has run nothing of the
    /// program's.
    pub(crate) fn hold(&self, pid: u32, step: &'static str) -> Result<PidFd, StartError> {
        PidFd::open(pid).map_err(|error| {
            discard_child(pid);
            self.failed(step)(error)
        })
    }

    /// What becomes of a child of this process that was sent what it waits for.
    pub(crate) fn told(&self, child: Child, sent: io::Result<()>, step: &'static str) -> Result<Child, StartError> {
        match sent {
            Err(error) if is_gone(&error) => Ok(child), // It was killed: its status will tell.
            Err(error) => {
                discard_child(child.pid());
                Err(self.failed(step)(error))
            }
            Ok(()) => Ok(child),
        }
    }

    /// The child's directory, if one was asked for.
    pub(crate) fn open_directory(&self) -> Result<Option<Descriptor>, StartError> {
        let Some(path) = &self.directory else { return Ok(None) };
        let opened = current_dir(path).map_err(self.failed("enter the directory given with current_dir"))?;
        Ok(Some(opened.into()))
    }

    /// An error of the system, as one of this start.
    pub(crate) fn failed(&self, step: &'static str) -> impl Fn(io::Error) -> StartError {
        let name = self.name.clone();
        move |error| StartError::System { name: name.clone(), step, error }
    }

    /// What is known about the child once it has a number.
    pub(crate) fn about(&self, pid: u32) -> About {
        let serial = registry::next_serial();
        let (owner, name) = (procession_sys::pid(), self.name.clone());
        About {
            serial,
            owner,
            pid,
            name,
            daemon: self.daemon,
            start_method: self.method,
            own_tree: self.settings.own_tree,
        }
    }
}

/// The changes of an environment.
#[derive(Debug, Default)]
pub(crate) struct EnvChanges {
    clear: bool,
    changes: Vec<(OsString, Option<OsString>)>,
}

impl EnvChanges {
    /// True when the child's environment is this process's.
    pub(crate) fn is_empty(&self) -> bool {
        !self.clear && self.changes.is_empty()
    }

    fn set(&mut self, name: &OsStr, value: Option<&OsStr>) {
        self.changes.retain(|(changed, _)| changed != name);
        self.changes.push((name.to_owned(), value.map(OsStr::to_owned)));
    }

    /// The name of a variable that no environment can hold, if there is one.
    fn impossible(&self) -> Option<&OsStr> {
        let possible =
            |(name, value): &&(OsString, Option<OsString>)| is_variable(name, value.as_deref().unwrap_or_default());
        self.changes.iter().find(|change| !possible(change)).map(|(name, _)| name.as_os_str())
    }

    /// The child's environment.
    pub(crate) fn apply(&self, own: Vec<(OsString, OsString)>) -> Vec<(OsString, OsString)> {
        let kept =
            own.into_iter().filter(|(name, _)| !self.clear && !self.changes.iter().any(|(changed, _)| changed == name));
        let set = self.changes.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?)));
        kept.chain(set).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str, value: &str) -> (OsString, OsString) {
        (name.into(), value.into())
    }

    #[test]
    fn a_variable_that_no_environment_can_hold_is_found() {
        for (name, value) in [("", "x"), ("A=B", "x"), ("A\0", "x"), ("A", "x\0y")] {
            let mut changes = EnvChanges::default();
            changes.set("GOOD".as_ref(), Some("=".as_ref()));
            assert_eq!(changes.impossible(), None);
            changes.set(name.as_ref(), Some(value.as_ref()));
            assert_eq!(changes.impossible(), Some(name.as_ref()), "{name:?}");
        }
    }

    #[test]
    fn changes_of_the_environment_come_last_and_a_later_one_wins() {
        let mut changes = EnvChanges::default();
        changes.set("A".as_ref(), Some("1".as_ref()));
        changes.set("A".as_ref(), Some("2".as_ref()));
        changes.set("B".as_ref(), None);
        let own = vec![pair("A", "0"), pair("B", "0"), pair("C", "0")];
        assert_eq!(changes.apply(own.clone()), [pair("C", "0"), pair("A", "2")]);
        changes.clear = true;
        assert_eq!(changes.apply(own), [pair("A", "2")]);
    }
}
