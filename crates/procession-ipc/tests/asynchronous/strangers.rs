//! Listeners and clients in tasks.

use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use futures_lite::future::zip;
use procession_ipc::{AcceptError, AuthFailure, Client, ConnectError, Listener, RecvError};
use procession_launch::StartMethod;

use crate::runtime::{tokio, within};
use crate::{SOON, start};

const CLIENTS: u32 = 20;

/// A client that uses threads, which the listener does not notice.
fn ask(address: String, number: u32) -> u32 {
    let connection = Client::connect::<u32, u32>(&address, b"secret").unwrap();
    connection.send(&number).unwrap();
    connection.recv().unwrap()
}

/// Among them are some that never say anything, and come first.
pub(super) fn a_task_for_each_client_answers_it(method: StartMethod) {
    let listener = Listener::bind("127.0.0.1:0").unwrap().authkey(b"secret");
    let address = listener.address().to_string();
    let silent: Vec<_> = (0..5).map(|_| TcpStream::connect(&address).unwrap()).collect();
    let children: Vec<_> = (0..CLIENTS).map(|n| start(method, ask, (address.clone(), n))).collect();
    tokio().block_on(async {
        let mut answers = Vec::new();
        for _ in 0..CLIENTS {
            let connection = listener.accept_async::<u32, u32>().await.unwrap();
            answers.push(tokio::spawn(async move {
                let number = connection.recv_async().await.unwrap();
                connection.send_async(&(number * 2)).await.unwrap();
                assert!(matches!(connection.recv_async().await, Err(RecvError::Disconnected)));
            }));
        }
        for answer in answers {
            answer.await.unwrap();
        }
    });
    for (number, child) in (0..CLIENTS).zip(children) {
        assert_eq!(child.join().unwrap(), number * 2);
    }
    drop(silent);
}

pub(super) fn who_does_not_know_the_key_is_refused_on_both_sides() {
    let listener = Listener::temporary().unwrap().authkey(b"secret");
    let address = listener.address().clone();
    tokio().block_on(async {
        let (accepted, connected) =
            zip(listener.accept_bytes_async(), Client::connect_bytes_async(&address, b"guess")).await;
        assert!(matches!(accepted, Err(AcceptError::AuthFailed { reason: AuthFailure::WrongKey, .. })), "{accepted:?}");
        assert!(matches!(connected, Err(ConnectError::AuthFailed { .. })), "{connected:?}");
        let (accepted, connected) =
            zip(listener.accept_bytes_async(), Client::connect_bytes_async(&address, b"secret")).await;
        let (ours, theirs) = (accepted.unwrap(), connected.unwrap());
        ours.send_async(b"welcome").await.unwrap();
        assert_eq!(theirs.recv_async().await.unwrap(), b"welcome");
    });
}

pub(super) fn a_listener_that_says_nothing_and_one_that_is_none_are_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let client = Client::builder(&address).unwrap().authkey(b"secret").handshake_timeout(Duration::from_millis(50));
    let began = Instant::now();
    tokio().block_on(async {
        let late = within(SOON, client.connect_bytes_async()).await.unwrap();
        assert!(matches!(late, Err(ConnectError::AuthFailed { reason: AuthFailure::Timeout, .. })), "{late:?}");
        drop(silent);
        let refused = within(SOON, client.connect_bytes_async()).await.unwrap();
        assert!(matches!(refused, Err(ConnectError::System { .. })), "{refused:?}");
    });
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

pub(super) fn closing_a_listener_ends_the_waits_of_tasks() {
    let listener = Listener::bind("@procession-async-closed").unwrap();
    tokio().block_on(async {
        let close = async {
            tokio::task::yield_now().await;
            listener.close();
        };
        let (accepted, ()) = zip(within(SOON, listener.accept_bytes_async()), close).await;
        assert!(matches!(accepted, Some(Err(AcceptError::Closed))), "{accepted:?}");
    });
}
