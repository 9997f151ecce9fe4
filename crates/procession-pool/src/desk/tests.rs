//! A desk whose worker is a thread: what is offered is done, in order, and what is reported comes whole.

use std::os::fd::OwnedFd;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use procession_sys::{Deadline, Interest, lower_half, poll_one};
use procession_wire::frame::BODY_INLINE_MAX;

use super::front::{Front, SOON};
use super::*;

/// Does each order by `work`, in a thread.
fn worker(
    kit: WorkerKit,
    mut work: impl FnMut(&mut Seat, Order) + Send + 'static,
) -> thread::JoinHandle<io::Result<()>> {
    thread::spawn(move || {
        let mut seat = Seat::open(kit)?;
        seat.ready(true);
        while let Some(order) = seat.next_order()? {
            let seq = order.seq;
            work(&mut seat, order);
            seat.finish(seq);
        }
        Ok(())
    })
}

/// Reports the order's own bytes.
fn echo(seat: &mut Seat, order: Order) {
    seat.append(&order.bytes).unwrap();
}

fn ends(mut front: Front, worker: thread::JoinHandle<io::Result<()>>) {
    front.desk.retire();
    worker.join().unwrap().unwrap();
}

#[test]
fn orders_are_done_in_order_and_reports_come_whole() {
    let (mut front, kit) = Front::new();
    let worker = worker(kit, echo);
    front.await_finished(1);
    assert_eq!((front.finished[0], front.desk.readiness()), (INITIALIZER, Readiness::Ready));
    let mut offered = 0;
    while offered < 5000 {
        match front.put(&[&[7; 3], &vec![offered as u8; offered % 3000]], None) {
            Ok(seq) => offered = seq as usize,
            Err(NotOffered::NoRoom) => front.await_finished(offered.saturating_sub(5)),
            Err(error) => panic!("{error}"),
        }
    }
    front.await_finished(offered + 1);
    assert!(front.finished.iter().copied().eq(0..=offered as u64));
    for seq in 1..=offered {
        let report = front.report(seq as u64);
        let len = (seq - 1) % 3000;
        assert!(report.len() == 3 + len && report[..3] == [7; 3], "{seq}");
        assert!(report[3..].iter().all(|&byte| byte == (seq - 1) as u8), "{seq}");
    }
    ends(front, worker);
}

#[test]
fn short_orders_and_reports_are_whole_at_each_length() {
    let (mut front, kit) = Front::new();
    let worker = worker(kit, |seat, order| {
        for part in order.bytes.chunks(7) {
            seat.append(part).unwrap();
        }
    });
    let bytes: Vec<u8> = (1..=100).collect();
    for len in 0..bytes.len() {
        let (first, second) = bytes[..len].split_at(len / 3);
        let seq = front.put(&[first, second], None).unwrap();
        // Sometimes in parts, sometimes when it is complete.
        front.await_until("its end", |front| front.finished.contains(&seq));
        assert_eq!(front.report(seq), &bytes[..len]);
    }
    ends(front, worker);
}

#[test]
fn a_short_report_that_was_read_in_part_goes_on_where_it_was_read_to() {
    let (mut front, kit) = Front::new();
    let mut seat = Seat::open(kit).unwrap();
    seat.append(b"first ").unwrap();
    assert_eq!(front.look().bytes, 6);
    seat.append(b"second").unwrap();
    seat.ready(true);
    let drained = front.look();
    assert_eq!((drained.bytes, drained.finished), (6, 1));
    assert_eq!(front.report(INITIALIZER), b"first second");
}

/// Waits until the worker sleeps.
fn await_sleep(front: &Front) {
    let end = Instant::now() + SOON;
    // The third word of the desk, which the worker marks.
    let sleeper = lower_half(front.desk.map.atomic_u64(2 * LINE * size_of::<u64>()).unwrap());
    while procession_sys::futex_sleepers(sleeper).unwrap() == 0 {
        assert!(Instant::now() < end, "it goes to sleep");
        thread::yield_now();
    }
}

#[test]
fn a_sleeping_worker_is_woken_by_an_order_and_by_the_wish_that_it_ends() {
    // So many that it would take too long if they had to look by themselves.
    const WORKERS: u32 = 10;
    let began = Instant::now();
    for _ in 0..WORKERS {
        let (mut front, kit) = Front::new();
        let worker = worker(kit, echo);
        front.await_finished(1);
        await_sleep(&front);
        front.offer(b"again");
        front.await_finished(2);
        await_sleep(&front);
        ends(front, worker);
    }
    assert!(began.elapsed() < WORKERS * waiting::RECHECK / 2, "{:?}", began.elapsed());
}

#[test]
fn who_retires_does_first_what_it_was_offered() {
    let (mut front, kit) = Front::new();
    for _ in 0..10 {
        front.offer(b"last");
    }
    front.desk.retire();
    worker(kit, echo).join().unwrap().unwrap();
    front.look();
    assert_eq!(front.finished.len(), 11);
}

#[test]
fn what_is_revoked_is_not_done_and_what_has_begun_is_not_revoked() {
    let (mut front, kit) = Front::new();
    let seqs: Vec<Seq> = (0..10).map(|_| front.offer(b"x")).collect();
    assert!([1, 4, 5, 9].iter().all(|&at| front.desk.revoke(seqs[at])));
    assert!(!front.desk.revoke(seqs[1]) && !front.desk.revoke(seqs[9] + 1), "once, and only what there is");
    let worker = worker(kit, echo);
    front.await_finished(7);
    let done: Vec<Seq> = front.finished.clone();
    assert_eq!(done, [0, seqs[0], seqs[2], seqs[3], seqs[6], seqs[7], seqs[8]]);
    assert!(!seqs.iter().any(|&seq| front.desk.revoke(seq)));
    ends(front, worker);
}

#[test]
fn revoked_orders_take_room_until_the_worker_has_seen_them_and_no_longer() {
    let (mut front, kit) = Front::new();
    for _ in 0..ORDERS_MAX - 1 {
        let seq = front.offer(b"x");
        assert!(front.desk.revoke(seq));
    }
    assert!(matches!(front.put(&[b"x"], None), Err(NotOffered::NoRoom)), "the initializer is unfinished");
    let worker = worker(kit, echo);
    front.await_finished(1);
    for round in 1..5 {
        let end = Instant::now() + SOON;
        for _ in 0..ORDERS_MAX {
            let seq = loop {
                match front.put(&[b"x"], None) {
                    Ok(seq) => break seq,
                    Err(error) => assert!(matches!(error, NotOffered::NoRoom) && Instant::now() < end, "{error}"),
                }
                front.look(); // Some it has begun.
            };
            front.desk.revoke(seq);
        }
        assert!(front.desk.next >= (round * ORDERS_MAX) as u64);
    }
    ends(front, worker);
}

#[test]
fn no_order_stands_in_the_place_of_a_revoked_one_that_the_worker_has_not_seen() {
    let (mut front, kit) = Front::new();
    let (go, wait) = mpsc::channel::<()>();
    let worker = thread::spawn(move || {
        let mut seat = Seat::open(kit).unwrap();
        seat.ready(true);
        wait.recv().unwrap();
        while let Some(order) = seat.next_order().unwrap() {
            seat.finish(order.seq);
        }
        Ok(())
    });
    front.await_finished(1);
    for _ in 0..ORDERS_MAX {
        let seq = front.offer(b"x");
        assert!(front.desk.revoke(seq));
        front.look();
    }
    assert!(matches!(front.put(&[b"x"], None), Err(NotOffered::NoRoom)));
    go.send(()).unwrap();
    let end = Instant::now() + SOON;
    while front.put(&[b"x"], None).is_err() {
        assert!(Instant::now() < end);
        thread::yield_now();
    }
    front.await_finished(2);
    ends(front, worker);
}

#[test]
fn orders_are_refused_when_they_have_no_room_and_accepted_when_they_have() {
    let (mut front, kit) = Front::new();
    let long = vec![1; ORDER_BYTES_MAX];
    for _ in 0..4 {
        front.offer(&long);
    }
    assert!(matches!(front.put(&[b"x"], None), Err(NotOffered::NoRoom)));
    assert!(matches!(front.put(&[&long, b"x"], None), Err(NotOffered::System(_))));
    let worker = worker(kit, echo);
    front.await_finished(5);
    front.desk.let_spin(true);
    front.offer(&long);
    let end = Instant::now() + SOON;
    while !front.desk.has_finished() {
        assert!(Instant::now() < end);
        thread::yield_now();
    }
    front.await_finished(6);
    assert!((1..6).all(|seq| front.report(seq) == long));
    ends(front, worker);
}

#[test]
fn a_report_of_any_length_comes_through_by_the_bell() {
    // So often out of room that it would take too long if the worker had to look by itself.
    const LONG: usize = 40 * STREAM_BYTES as usize;
    let (mut front, kit) = Front::new();
    let worker = worker(kit, |seat, _| {
        for word in 0..200_000_u64 {
            seat.append(&word.to_le_bytes()).unwrap();
        }
        seat.append(&vec![9; LONG]).unwrap();
    });
    let seq = front.offer(b"");
    front.await_finished(2);
    let report = front.report(seq);
    let (words, rest) = report.split_at(1_600_000);
    assert!(words.chunks(8).enumerate().all(|(at, word)| word == (at as u64).to_le_bytes()));
    assert!(rest.len() == LONG && rest.iter().all(|&byte| byte == 9));
    ends(front, worker);
}

#[test]
fn what_a_worker_shows_of_a_report_is_seen_before_that_is_complete() {
    let (mut front, kit) = Front::new();
    let (go, wait) = mpsc::channel::<()>();
    let worker = worker(kit, move |seat, _| {
        seat.append(b"first").unwrap();
        wait.recv().unwrap();
    });
    let seq = front.offer(b"");
    let end = Instant::now() + SOON;
    while front.reports.get(&seq).is_none_or(|report| report.len() < 5) {
        front.look();
        assert!(Instant::now() < end);
    }
    assert_eq!((front.report(seq), front.desk.running()), (b"first".as_slice(), Some(seq)));
    assert_eq!(front.finished, [0]);
    assert!(!front.desk.revoke(seq));
    go.send(()).unwrap();
    front.await_finished(2);
    assert_eq!(front.desk.running(), None);
    ends(front, worker);
}

#[test]
fn a_failed_initializer_has_its_report() {
    let (mut front, kit) = Front::new();
    let worker = thread::spawn(move || {
        let mut seat = Seat::open(kit).unwrap();
        seat.append(b"no license").unwrap();
        seat.ready(false);
    });
    front.await_finished(1);
    assert_eq!((front.report(INITIALIZER), front.desk.readiness()), (b"no license".as_slice(), Readiness::Failed));
    worker.join().unwrap();
}

fn body(frame: Frame) -> Vec<u8> {
    Received::from_frame(frame).unwrap().body.as_ref().to_vec()
}

#[test]
fn parcels_go_both_ways_with_descriptors_and_those_of_revoked_orders_are_dropped() {
    let (mut front, kit) = Front::new();
    let worker = worker(kit, |seat, order| {
        let parcel = order.parcel.unwrap();
        let descriptors: Vec<_> = parcel.descriptors.iter().map(AsFd::as_fd).collect();
        let bytes = parcel.body.as_ref();
        for _ in 0..2 {
            seat.send_parcel(order.seq, Parcel { body: bytes, descriptors: &descriptors }).unwrap();
        }
    });
    let (read, write) = procession_sys::pipe().unwrap();
    let many = vec![write.as_fd(); 300];
    for (len, descriptors) in [(0, &many[..1]), (BODY_INLINE_MAX, &many), (BODY_INLINE_MAX + 1, &[]), (1 << 20, &many)]
    {
        let bytes = vec![len as u8 | 1; len];
        let dropped = front.put(&[b"dropped"], Some(Parcel { body: b"dropped", descriptors: &many })).unwrap();
        front.desk.revoke(dropped);
        let seq = front.put(&[b"file"], Some(Parcel { body: &bytes, descriptors })).unwrap();
        front.await_until("its end", |front| front.finished.contains(&seq));
        let frames = front.desk.take_parcels(seq);
        assert!(frames.len() == 2 && frames.iter().all(|frame| frame.descriptors.len() == descriptors.len()));
        assert!(frames.into_iter().all(|frame| body(frame) == bytes), "{len}");
        assert!(front.desk.take_parcels(seq).is_empty());
        drop(front.desk.take_parcels(dropped));
    }
    drop(many);
    drop(write);
    ends(front, worker);
    assert!(poll_one(&read, Interest::Read, Deadline::NOW).unwrap(), "nobody holds the pipe");
}

#[test]
fn a_full_link_is_no_room_and_a_torn_frame_is_no_frame() {
    let (mut front, kit) = Front::new();
    let null: OwnedFd = procession_sys::dev_null().unwrap();
    let many = vec![null.as_fd(); 4000];
    let bytes = vec![3; BODY_INLINE_MAX];
    let mut offered = 0;
    let error = loop {
        match front.put(&[b"x"], Some(Parcel { body: &bytes, descriptors: &many })) {
            Ok(_) => offered += 1,
            Err(error) => break error,
        }
    };
    assert!((1..50).contains(&offered) && matches!(error, NotOffered::NoRoom), "{offered}: {error}");
    let worker = worker(kit, |seat, order| {
        let parcel = order.parcel.unwrap();
        assert_eq!((parcel.body.as_ref().len(), parcel.descriptors.len()), (BODY_INLINE_MAX, 4000));
        seat.append(b"had").unwrap();
    });
    front.await_finished(offered + 1);
    front.put(&[b"x"], Some(Parcel { body: &bytes, descriptors: &many })).unwrap();
    front.await_finished(offered + 2);
    ends(front, worker);
}

#[test]
fn more_parcels_than_the_link_holds_come_while_somebody_reads() {
    const COUNT: usize = 2000;
    let (mut front, kit) = Front::new();
    let worker = worker(kit, |seat, order| {
        for number in 0..COUNT {
            seat.send_parcel(order.seq, Parcel { body: &number.to_le_bytes(), descriptors: &[] }).unwrap();
        }
    });
    let seq = front.offer(b"");
    front.await_finished(2);
    let frames = front.desk.take_parcels(seq);
    assert!(frames.into_iter().map(body).eq((0..COUNT).map(|number| number.to_le_bytes().to_vec())));
    ends(front, worker);
}

/// Says by which way the parcel came, and whether it is whole.
fn way(seat: &mut Seat, order: Order) {
    let parcel = order.parcel.unwrap();
    let is_lent = matches!(parcel.body, Bytes::Lent(_));
    let is_whole = parcel.body.as_ref().iter().all(|&byte| byte == 7);
    assert_eq!(parcel.into_decoder().value::<u8>().unwrap(), 7);
    seat.append(&[is_lent.into(), is_whole.into()]).unwrap();
}

#[test]
fn a_tray_is_in_use_until_its_body_was_read() {
    let (mut front, kit) = Front::new();
    let ((say, taken), (go, may_go)) = (mpsc::channel(), mpsc::channel());
    let worker = worker(kit, move |seat, order| {
        say.send(()).unwrap();
        may_go.recv().unwrap();
        way(seat, order);
    });
    let body = vec![7; 1 << 20];
    let offer = |front: &mut Front| front.put(&[b"x"], Some(Parcel { body: &body, descriptors: &[] })).unwrap();
    let first = offer(&mut front);
    taken.recv_timeout(SOON).unwrap();
    assert!(!front.desk.give_memory_back());
    let second = offer(&mut front);
    go.send(()).unwrap();
    go.send(()).unwrap();
    front.await_finished(3);
    assert_eq!([front.report(first), front.report(second)], [[1, 1], [0, 1]]);
    ends(front, worker);
}

#[test]
fn a_tray_holds_one_body_until_the_worker_has_taken_it() {
    let (mut front, kit) = Front::new();
    let body = vec![7; 1 << 20];
    let seqs: Vec<Seq> =
        (0..5).map(|_| front.put(&[b"x"], Some(Parcel { body: &body, descriptors: &[] })).unwrap()).collect();
    assert!(front.desk.revoke(seqs[0]), "the one in the tray");
    assert!(!front.desk.give_memory_back());
    let worker = worker(kit, way);
    front.await_finished(5);
    assert!(seqs[1..].iter().all(|&seq| front.report(seq) == [0, 1]));
    for _ in 0..2 {
        let seq = front.put(&[b"x"], Some(Parcel { body: &body, descriptors: &[] })).unwrap();
        front.await_until("its end", |front| front.finished.contains(&seq));
        assert_eq!(front.report(seq), [1, 1]);
    }
    ends(front, worker);
}
