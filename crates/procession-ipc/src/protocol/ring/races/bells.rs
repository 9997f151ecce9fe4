//! The races of those who poll: a bell is in their socket for as long as nobody takes it away.
//!
//! The socket is a word of the model, the number of bells in it. Who polls looks at nothing else until there is one, and is
//! woken for each: as the kernel does, which tells all that poll, and has those sleep on that find the socket empty again.

use super::*;

/// The word that is the socket.
const SOCKET: usize = 16;

impl Shared {
    /// As `put`, for those who poll: the bell is rung for them.
    fn put_ringing(&self, kernel: &Kernel, item: u64) {
        let word = self.try_put_untold(kernel, item).expect("room");
        let ring = ring(kernel);
        if tell(kernel, ring.put.count, word) != 0 {
            kernel.at("model: to ring");
            kernel.word(SOCKET).fetch_add(1, AcqRel);
            kernel.wake(kernel.word(SOCKET), u32::MAX >> 1);
        }
    }

    /// Waits until there is an item, as `wait.rs` does.
    fn poll(&self, kernel: &Kernel) {
        let ring = ring(kernel);
        while len(&ring) == 0 {
            arm(ring.put.count, CALLERS);
            if len(&ring) > 0 {
                return;
            }
            self.sleep_until_bell(kernel);
            self.silence(kernel);
        }
    }

    /// Sleeps until there is a bell, or somebody has died: in time one looks again.
    fn sleep_until_bell(&self, kernel: &Kernel) {
        let socket = kernel.word(SOCKET);
        while socket.load(Acquire) == 0 {
            kernel.park(socket, 0);
            if (1..=PROCESSES).any(|process| !kernel.is_alive(name(process))) {
                return;
            }
        }
    }

    /// Takes the bells away, as `channel/watch.rs` does.
    fn silence(&self, kernel: &Kernel) {
        let (ring, socket) = (ring(kernel), kernel.word(SOCKET));
        let has_bell = || socket.load(Acquire) > 0;
        let visited = visit(kernel, &ring.taken, held(kernel), |_, _| {
            while has_bell() && may_silence(&ring) {
                socket.fetch_sub(1, AcqRel);
            }
        });
        if visited.is_none() {
            // The bell has been left there, so one does not sleep until whoever has the lock has gone on.
            loom::thread::yield_now();
        }
    }

    /// Polls for so many items, and takes each.
    fn poller(&self, kernel: &Kernel, number: u32, fate: Fate, count: usize) -> Process<Vec<u64>> {
        let shared = self.clone();
        kernel.spawn(number, fate, move |kernel| (0..count).map(|_| shared.poll_and_get(kernel)).collect())
    }

    fn poll_and_get(&self, kernel: &Kernel) -> u64 {
        loop {
            self.poll(kernel);
            match self.try_get(kernel) {
                Err(Missed::Nothing) => {} // Another was faster.
                done => return done.expect("nobody waits in vain"),
            }
        }
    }
}

/// Numbers of processes in these models, at most.
const PROCESSES: u32 = 4;

#[test]
fn armed_and_published() {
    model(6, |kernel| {
        let shared = Shared::of(2);
        let poller = shared.poller(&kernel, 2, Fate::Lives, 1);
        shared.put_ringing(&kernel, 7);
        assert_eq!(poller.join(), Some(vec![7]));
    });
}

#[test]
fn armed_again() {
    model(4, |kernel| {
        let shared = Shared::of(2);
        let poller = shared.poller(&kernel, 2, Fate::Lives, 2);
        shared.put_ringing(&kernel, 1);
        shared.put_ringing(&kernel, 2);
        assert_eq!(poller.join(), Some(vec![1, 2]));
    });
}

/// Two sleep, and one of them takes the bell away.
#[test]
fn one_bell_for_two() {
    model(2, |kernel| {
        let shared = Shared::of(2);
        let first = shared.poller(&kernel, 2, Fate::Lives, 1);
        let second = shared.poller(&kernel, 3, Fate::Lives, 1);
        shared.put_ringing(&kernel, 1);
        shared.put_ringing(&kernel, 2);
        let mut all = [first, second].map(|poller| poller.join().expect("it lives")[0]);
        all.sort_unstable();
        assert_eq!(all, [1, 2]);
    });
}

/// One polls. Somebody else takes the item, and its bell, and polls for none.
#[test]
fn a_bell_for_what_was_taken() {
    model(2, |kernel| {
        let shared = Shared::of(2);
        let poller = shared.poller(&kernel, 2, Fate::Lives, 1);
        let other = shared.clone();
        let passer = kernel.spawn(3, Fate::Lives, move |kernel| {
            let had = other.try_get(kernel).ok();
            other.silence(kernel);
            had
        });
        shared.put_ringing(&kernel, 1);
        shared.put_ringing(&kernel, 2);
        let mut all = [poller.join().expect("it lives"), shared.rest(&kernel)].concat();
        all.extend(passer.join().expect("it lives"));
        all.sort_unstable();
        assert_eq!(all, [1, 2]);
    });
}

/// Who is killed before it rings costs those who poll until they look again by themselves, and nothing else.
#[test]
fn published_and_not_rung() {
    for place in ["ring: published", "ring: not told", "model: to ring"] {
        model(2, move |kernel| {
            let shared = Shared::of(2);
            let poller = shared.poller(&kernel, 2, Fate::Lives, 2);
            let other = shared.clone();
            let dies = kernel.spawn(3, Fate::KilledAt(place), move |kernel| other.put_ringing(kernel, 1));
            dies.join();
            shared.put_ringing(&kernel, 2);
            assert_eq!(poller.join(), Some(vec![1, 2]));
        });
    }
}
