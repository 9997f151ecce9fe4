//! A Redis server, and clients that speak its protocol: a socket, the bytes of `SET`, and `+OK` for each.
//!
//! Relies on `redis-server` being installed. It is the child of a shell that ends it when this process ends, however it does.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use procession_benches::Result;
use procession_benches::gang::{Member, Others};
use procession_benches::managers::AT_ONCE;
use procession_benches::runner::timed;
use serde::{Deserialize, Serialize};

use crate::Runs;
use crate::keys::{Keys, check};

/// How long the server may take to listen.
const START_TIME: Duration = Duration::from_secs(20);

/// What the server says of each key that is set.
const OK: &[u8] = b"+OK\r\n";

/// Ends what it has started as soon as nobody holds its input.
const SHELL: &str = "\"$@\" </dev/null >/dev/null & server=$!; read -r _; kill $server; wait $server";

/// A server of this bench alone, without anything on disk.
struct Server {
    shell: Child,
    folder: PathBuf,
    port: u16,
}

impl Server {
    fn start() -> Result<Self> {
        if let Err(error) = Command::new("redis-server").arg("--version").stdout(Stdio::null()).status() {
            let message = "redis-server is missing, with which this group compares: install it, as by `apt-get install \
                           redis-server` or `cargo xtask ci setup`";
            return Err(format!("{message} ({error})").into());
        }
        let folder = env::temp_dir().join(format!("procession-bench-redis-{}", process::id()));
        fs::create_dir_all(&folder)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = Command::new("sh");
        command.args(["-c", SHELL, "sh", "redis-server", "--bind", "127.0.0.1", "--port", &port.to_string()]);
        command.args(["--save", "", "--appendonly", "no", "--dir"]).arg(&folder);
        command.arg("--unixsocket").arg(folder.join("socket"));
        let shell = command.stdin(Stdio::piped()).spawn()?;
        let server = Self { shell, folder, port };
        server.wait_until_ready()?;
        Ok(server)
    }

    fn wait_until_ready(&self) -> Result {
        let began = Instant::now();
        loop {
            match Client::connect(&self.place("unix")).and_then(|_| Client::connect(&self.place("tcp"))) {
                Ok(_) => return Ok(()),
                Err(error) if began.elapsed() > START_TIME => {
                    return Err(format!("redis-server does not listen: {error}").into());
                }
                Err(_) => thread::sleep(Duration::from_millis(5)), // Nothing tells when it does.
            }
        }
    }

    /// Where clients connect.
    fn place(&self, place: &str) -> Place {
        if place == "tcp" { Place::Tcp(self.port) } else { Place::Unix(self.folder.join("socket")) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
        let _ = fs::remove_dir_all(&self.folder); // It is in the folder for what is left behind.
    }
}

/// Where a server listens.
#[derive(Serialize, Deserialize)]
enum Place {
    Unix(PathBuf),
    Tcp(u16),
}

trait Socket: Read + Write {}

impl<T: Read + Write> Socket for T {}

/// A client of it.
struct Client {
    socket: Box<dyn Socket>,
    asked: Vec<u8>,
    answer: Vec<u8>,
}

impl Client {
    fn connect(place: &Place) -> Result<Self> {
        let socket: Box<dyn Socket> = match place {
            Place::Unix(path) => Box::new(UnixStream::connect::<&Path>(path)?),
            Place::Tcp(port) => {
                let socket = TcpStream::connect(("127.0.0.1", *port))?;
                socket.set_nodelay(true)?;
                Box::new(socket)
            }
        };
        Ok(Self { socket, asked: Vec::new(), answer: vec![0; 4096] })
    }

    /// Sets so many keys by one write.
    fn set(&mut self, keys: &mut Keys, count: u64) -> Result {
        self.asked.clear();
        for _ in 0..count {
            let (next, number) = {
                let next = keys.next();
                (next.name, next.number.to_string())
            };
            write!(self.asked, "*3\r\n$3\r\nSET\r\n${}\r\n{next}\r\n${}\r\n{number}\r\n", next.len(), number.len())?;
        }
        self.socket.write_all(&self.asked)?;
        let answer = self.read(OK.len() * count as usize)?;
        if answer.chunks(OK.len()).all(|one| one == OK) { Ok(()) } else { Err("Redis has not set a key".into()) }
    }

    fn read(&mut self, bytes: usize) -> Result<&[u8]> {
        let mut had = 0;
        while had < bytes {
            match self.socket.read(&mut self.answer[had..])? {
                0 => return Err("Redis has closed the connection".into()),
                count => had += count,
            }
        }
        Ok(&self.answer[..had])
    }

    /// That the last key has what it was set to.
    fn check(&mut self, keys: &Keys) -> Result {
        let (name, number) = keys.last().ok_or("nothing was set")?;
        let expected = format!("${}\r\n{number}\r\n", number.to_string().len());
        let asked = format!("*2\r\n$3\r\nGET\r\n${}\r\n{name}\r\n", name.len());
        self.socket.write_all(asked.as_bytes())?;
        let answer = String::from_utf8(self.read(expected.len())?.to_vec())?;
        check(answer.lines().nth(1).and_then(|text| text.parse().ok()), Some(number))
    }
}

/// One key after the other.
pub(crate) fn set(place: &str) -> Result<Runs> {
    let server = Server::start()?;
    let (mut client, mut keys) = (Client::connect(&server.place(place))?, Keys::of(0));
    Ok(Box::new(move |times| {
        let _ = &server;
        let took = timed(times, || client.set(&mut keys, 1))?;
        client.check(&keys)?;
        Ok(took)
    }))
}

/// Several keys at once.
pub(crate) fn pipeline(place: &str) -> Result<Runs> {
    let server = Server::start()?;
    let (mut client, mut keys) = (Client::connect(&server.place(place))?, Keys::of(0));
    Ok(Box::new(move |times| {
        let _ = &server;
        let began = Instant::now();
        for done in (0..times).step_by(AT_ONCE as usize) {
            client.set(&mut keys, AT_ONCE.min(times - done))?;
        }
        let took = began.elapsed();
        client.check(&keys)?;
        Ok(took)
    }))
}

/// A client that sets keys of its own.
#[derive(Serialize, Deserialize)]
struct Setter(Place);

impl Member for Setter {
    fn join(self, who: usize) -> Result<impl FnMut(u64) -> Result<u64>> {
        let (mut client, mut keys) = (Client::connect(&self.0)?, Keys::of(who));
        Ok(move |times| {
            (0..times).try_for_each(|_| client.set(&mut keys, 1))?;
            client.check(&keys)?;
            Ok(times)
        })
    }
}

/// Four processes at once.
pub(crate) fn four(place: &str) -> Result<Runs> {
    let server = Server::start()?;
    let mut others = Others::new();
    for _ in 0..4 {
        others.start(Setter(server.place(place)))?;
    }
    others.wait_until_ready()?;
    Ok(Box::new(move |times| {
        let _ = &server;
        crate::keys::by_four(&mut others, times)
    }))
}
