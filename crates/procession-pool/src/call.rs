//! A call: a function with its arguments, as any process of this image can make it, and the reply that comes of it.
//!
//! Relies on the function table of `procession-boot`: a call names its function, and whoever makes it finds in the table
//! what is to be done with arguments and results of its types. Does no IO: a [`Report`] takes what is to be told.
//!
//! # The bytes
//! The arguments of a single call stand one after the other; one that is nothing but many numbers may also come as its memory. Those of a chunk begin with a byte that is [`PARTS`], and follow
//! item by item, each a part that begins with its length; or it is the width of numbers, which follow as they are in memory.
//! A reply is a sequence of items, each a tag and a part:
//!
//! | tag | what follows |
//! |---|---|
//! | [`VALUE`] | the value |
//! | [`FAULT`] | why there is none: a [`Fault`] |
//! | [`PARCEL`] | nothing: the item is in the next parcel, tag and all |
//! | [`RAN`] | for how long a chunk ran, in nanoseconds; its last item |
//! | [`NUMBER`] and a width | instead of a part so many bytes: a number as it is in memory |

mod number;

use std::cell::RefCell;
use std::io;
use std::mem;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::slice;
use std::time::Instant;

use procession_boot::{BootError, FunctionId, resolve};
use procession_launch::calls::{Caller, CaughtPanic, catch_call, name_call, procession_calls_target};
use procession_launch::{Arguments, Passable, Target};
use procession_sys::Origin;
use procession_wire::bulk::RawNumbers;
use procession_wire::{DecodeError, Decoder, Descriptor, EncodeError, Encoder, Message, bulk, decode_slice};
use serde::{Deserialize, Serialize};

pub(crate) use self::number::NumberItem;
use crate::copy::end_a_copy;
use crate::desk::Received;
use crate::threads::runner_name;

/// The item is a value,
pub(crate) const VALUE: u8 = 0;
/// or says why there is none,
pub(crate) const FAULT: u8 = 1;
/// or is in a parcel,
pub(crate) const PARCEL: u8 = 2;
/// or is the end of a chunk.
pub(crate) const RAN: u8 = 3;

/// In front of the items of a chunk: each is a part.
pub(crate) const PARTS: u8 = 0;

/// The item is a number; the lower bits are how many bytes it has.
pub(crate) const NUMBER: u8 = 0x40;

/// A function with its arguments.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) function: FunctionId,
    pub(crate) arguments: Load,
}

impl Call {
    /// Makes the call in this process.
    pub(crate) fn run(self, report: Box<dyn Report>) -> Box<dyn Report> {
        run(self.function, Given::Encoded(self.arguments.into_message().into_decoder()), report)
    }
}

/// Arguments on their way.
#[derive(Clone, Debug)]
pub(crate) enum Load {
    Encoded(Message),
    /// Many numbers, which are all there is. Nothing of them was copied.
    Numbers(RawNumbers),
}

/// From so many bytes on numbers are kept as they are: to encode them would take longer than all else that is done for a call.
const NUMBERS_BYTES_MIN: usize = 128 << 10;

impl Load {
    pub(crate) fn of<A: Arguments>(arguments: A) -> Result<Self, EncodeError> {
        let arguments = match arguments.into_raw(NUMBERS_BYTES_MIN) {
            Ok(numbers) => return Ok(Self::Numbers(numbers)),
            Err(arguments) => arguments,
        };
        let mut encoder = Encoder::new();
        arguments.encode(&mut encoder)?;
        Ok(Self::Encoded(encoder.finish()))
    }

    /// How many descriptors go with them.
    pub(crate) fn descriptor_count(&self) -> usize {
        match self {
            Self::Encoded(message) => message.descriptor_count(),
            Self::Numbers(_) => 0,
        }
    }

    /// Adds their bytes, encoded.
    pub(crate) fn append_to(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Encoded(message) => bytes.extend_from_slice(message.bytes()),
            Self::Numbers(numbers) => {
                bytes.extend_from_slice(bulk::length_prefix(numbers.as_ref().len()).as_ref());
                bytes.extend_from_slice(numbers.as_ref());
            }
        }
    }

    /// The message that they are.
    pub(crate) fn into_message(self) -> Message {
        if let Self::Encoded(message) = self {
            return message;
        }
        let mut bytes = Vec::new();
        self.append_to(&mut bytes);
        Message::from_parts(bytes, Vec::new())
    }
}

/// Arguments that have arrived.
pub(crate) enum Given {
    Encoded(Decoder),
    /// What was a [`Load::Numbers`].
    Numbers(Received),
}

impl Given {
    /// The arguments of a single call.
    fn decode<A: Arguments>(self) -> Result<A, String> {
        match self {
            Self::Encoded(mut decoder) => A::decode(&mut decoder)
                .and_then(|arguments| decoder.finish().map(|()| arguments))
                .map_err(|error| error.to_string()),
            Self::Numbers(numbers) => match numbers.read(A::of_shared, A::of_raw) {
                Some(arguments) => arguments.map_err(|error| error.to_string()),
                None => Err("they came as numbers, and are not".to_owned()),
            },
        }
    }

    /// Those of a chunk, which are always encoded.
    fn into_decoder(self) -> Decoder {
        match self {
            Self::Encoded(decoder) => decoder,
            Self::Numbers(numbers) => numbers.into_decoder(),
        }
    }
}

/// The name of calling `F` once.
pub(crate) fn name_single<F: Target<A>, A: Arguments>(function: F) -> Result<FunctionId, BootError> {
    name_call::<Single, F, A>(function)
}

/// The name of calling `F` with each item of a chunk.
pub(crate) fn name_chunk<F: Target<A>, A: Arguments>(function: F) -> Result<FunctionId, BootError> {
    name_call::<Chunk, F, A>(function)
}

/// Makes a call that was named in any process of this image.
pub(crate) fn run(function: FunctionId, arguments: Given, mut report: Box<dyn Report>) -> Box<dyn Report> {
    match resolve::<Job, Box<dyn Report>>(function) {
        Ok(call) => call(Job { arguments, report }),
        Err(error) => {
            tell_fault(&mut *report, &Fault::here(Failure::Arguments(error.to_string())), Vec::new());
            report
        }
    }
}

/// What whoever makes a call is given.
pub(crate) struct Job {
    arguments: Given,
    report: Box<dyn Report>,
}

/// Where the items of a reply go.
pub(crate) trait Report {
    /// Takes an item, and gives its memory back for the next one.
    ///
    /// # Errors
    /// The system refused what it takes to carry it.
    fn item(&mut self, item: Message) -> io::Result<Vec<u8>>;

    /// Takes an item that is a number.
    ///
    /// # Errors
    /// As above.
    fn number(&mut self, item: NumberItem) -> io::Result<()>;
}

/// Why an item has no value.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Fault {
    /// The process that it happened in, or the thread of a pool of threads.
    pub(crate) name: String,
    pub(crate) pid: u32,
    /// How often the task was begun; none of an initializer.
    pub(crate) attempts: u32,
    pub(crate) failure: Failure,
}

/// What it was.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Failure {
    /// The function panicked, or what reads its arguments or writes its result.
    Panicked(CaughtPanic),
    /// The arguments could not be decoded.
    Arguments(String),
    /// The result could not be encoded or carried.
    Output(String),
    /// An initializer returned an error.
    Refused(String),
}

impl Fault {
    pub(crate) fn here(failure: Failure) -> Self {
        Self { name: runner_name(), pid: procession_sys::pid(), attempts: 1, failure }
    }
}

/// One call.
struct Single;

impl<F: Target<A>, A: Arguments> Caller<F, A> for Single {
    type Input = Job;
    type Output = Box<dyn Report>;

    fn call(function: F, Job { arguments, mut report }: Job) -> Box<dyn Report> {
        tell_call(&mut *report, Vec::new(), function, || arguments.decode());
        report
    }
}

/// A call for each item.
struct Chunk;

impl<F: Target<A>, A: Arguments> Caller<F, A> for Chunk {
    type Input = Job;
    type Output = Box<dyn Report>;

    fn call(function: F, Job { arguments, mut report }: Job) -> Box<dyn Report> {
        let begun = Instant::now();
        let mut arguments = arguments.into_decoder();
        let has_numbers = arguments.bytes(1).is_some_and(|form| form != [PARTS]);
        let width = A::number_width().filter(|_| has_numbers);
        let mut teller = Teller { report: &mut *report, buffer: Vec::new() };
        let mut items = match width {
            Some(width) => Source::Numbers(arguments.rest().chunks(width)),
            None => Source::Parts(arguments),
        };
        while !items.is_at_end() {
            // One catch for many items: without a panic there is one in all.
            let told = catch_call(|| teller.tell_all::<F, A>(function, &mut items));
            let told = match told {
                Ok(told) => told,
                Err(panic) => teller.tell_fault(&Fault::here(Failure::Panicked(panic))),
            };
            // A reply with an item left out would give what follows to others: it ends there.
            if told.is_none() {
                return report;
            }
        }
        let ran = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        tell(&mut *report, Vec::new(), RAN, |encoder| encoder.value(&ran));
        report
    }
}

/// The arguments of a chunk, item by item.
enum Source<'a> {
    Numbers(slice::Chunks<'a, u8>),
    Parts(Decoder),
}

impl Source<'_> {
    fn is_at_end(&self) -> bool {
        match self {
            Self::Numbers(numbers) => numbers.len() == 0,
            Self::Parts(parts) => parts.is_at_end(),
        }
    }
}

/// Tells of the items of a chunk.
struct Teller<'r> {
    report: &'r mut dyn Report,
    /// Memory for the next item.
    buffer: Vec<u8>,
}

impl Teller<'_> {
    /// Calls the function with each item, until there is none left; `None` if nothing can be told any more.
    ///
    /// # Panics
    /// As the item does that was taken last, of which nothing has been told.
    fn tell_all<F: Target<A>, A: Arguments>(&mut self, function: F, items: &mut Source<'_>) -> Option<()> {
        match items {
            Source::Numbers(numbers) => {
                let number = |bytes| A::of_number(bytes).ok_or_else(|| NO_NUMBER.to_owned());
                self.tell_each(function, || numbers.next().map(number))
            }
            Source::Parts(parts) => self.tell_each(function, || {
                let read = |parts: &mut Decoder| parts.part(|part| A::decode(part)).map_err(|error| error.to_string());
                (!parts.is_at_end()).then(|| read(parts))
            }),
        }
    }

    #[inline]
    fn tell_each<F: Target<A>, A: Arguments>(
        &mut self,
        function: F,
        mut next: impl FnMut() -> Option<Result<A, String>>,
    ) -> Option<()> {
        while let Some(decoded) = next() {
            match decoded {
                Ok(decoded) => self.tell_output(procession_calls_target(function, decoded))?,
                Err(reason) => self.tell_fault(&Fault::here(Failure::Arguments(reason)))?,
            }
        }
        Some(())
    }

    #[inline]
    fn tell_output<R: Passable>(&mut self, output: R) -> Option<()> {
        if let Some(number) = bulk::number_bytes(&output).and_then(NumberItem::of) {
            return self.report.number(number).ok();
        }
        let item = item(mem::take(&mut self.buffer), VALUE, |part| part.value(&output));
        drop(output); // If it panics, the item has.
        let told = item.map_err(|error| error.to_string());
        match told.and_then(|item| self.report.item(item).map_err(|error| error.to_string())) {
            Ok(buffer) => self.buffer = buffer,
            Err(reason) => self.tell_fault(&Fault::here(Failure::Output(reason)))?,
        }
        Some(())
    }

    #[cold]
    fn tell_fault(&mut self, fault: &Fault) -> Option<()> {
        tell_fault(self.report, fault, mem::take(&mut self.buffer)).map(|buffer| self.buffer = buffer)
    }
}

/// What arguments are that end in the middle of a number.
const NO_NUMBER: &str = "they end in the middle of a number";

/// Calls the function with what `decode` gives, and tells what came of it; `None` if nothing could be told.
#[inline]
fn tell_call<F: Target<A>, A: Arguments>(
    report: &mut dyn Report,
    buffer: Vec<u8>,
    function: F,
    decode: impl FnOnce() -> Result<A, String>,
) -> Option<Vec<u8>> {
    let item = catch_call(|| {
        let arguments = decode().map_err(Failure::Arguments)?;
        let output = procession_calls_target(function, arguments);
        item(buffer, VALUE, |part| part.value(&output)).map_err(|error| Failure::Output(error.to_string()))
    });
    let failure = match item {
        Ok(Ok(item)) => match report.item(item) {
            Ok(buffer) => return Some(buffer),
            Err(error) => Failure::Output(error.to_string()),
        },
        Ok(Err(failure)) => failure,
        Err(panic) => Failure::Panicked(panic),
    };
    tell_fault(report, &Fault::here(failure), Vec::new())
}

pub(crate) fn tell_fault(report: &mut dyn Report, fault: &Fault, buffer: Vec<u8>) -> Option<Vec<u8>> {
    tell(report, buffer, FAULT, |encoder| encoder.value(fault))
}

/// Tells what can always be encoded; `None` where it cannot be carried either.
fn tell(
    report: &mut dyn Report,
    buffer: Vec<u8>,
    tag: u8,
    write: impl FnOnce(&mut Encoder) -> Result<(), EncodeError>,
) -> Option<Vec<u8>> {
    item(buffer, tag, write).ok().and_then(|item| report.item(item).ok())
}

#[inline]
fn item(
    buffer: Vec<u8>,
    tag: u8,
    write: impl FnOnce(&mut Encoder) -> Result<(), EncodeError>,
) -> Result<Message, EncodeError> {
    let mut encoder = Encoder::with_buffer(buffer);
    encoder.value(&tag)?;
    encoder.part(write)?;
    Ok(encoder.finish())
}

/// What has come of a call, as it is known so far.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    pub(crate) bytes: Vec<u8>,
    pub(crate) parcels: Vec<Parcel>,
}

/// An item by itself: a large one, or one with descriptors.
pub(crate) struct Parcel {
    pub(crate) body: Box<dyn AsRef<[u8]> + Send + Sync>,
    pub(crate) descriptors: Vec<OwnedFd>,
}

impl std::fmt::Debug for Parcel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (bytes, descriptors) = ((*self.body).as_ref().len(), self.descriptors.len());
        f.debug_struct("Parcel").field("bytes", &bytes).field("descriptors", &descriptors).finish()
    }
}

/// A reply that stays in this process.
impl Report for Reply {
    fn item(&mut self, item: Message) -> io::Result<Vec<u8>> {
        if item.descriptor_count() == 0 && self.bytes.is_empty() {
            self.bytes = item.into_parts().0;
            return Ok(Vec::new());
        }
        let (bytes, descriptors) = item.into_parts();
        if descriptors.is_empty() {
            self.bytes.extend_from_slice(&bytes);
            return Ok(bytes);
        }
        let descriptors = descriptors.into_iter().map(Descriptor::into_owned).collect::<io::Result<_>>()?;
        self.bytes.push(PARCEL);
        self.parcels.push(Parcel { body: Box::new(bytes), descriptors });
        Ok(Vec::new())
    }

    #[inline]
    fn number(&mut self, item: NumberItem) -> io::Result<()> {
        let (bytes, len) = item.bytes();
        self.bytes.extend_from_slice(&bytes[..len]);
        Ok(())
    }
}

/// A reply that whoever makes the call keeps a hand on, in the process that makes it.
struct Kept {
    reply: Rc<RefCell<Reply>>,
    origin: Origin,
}

impl Report for Kept {
    fn item(&mut self, item: Message) -> io::Result<Vec<u8>> {
        end_a_copy(self.origin);
        self.reply.borrow_mut().item(item)
    }

    #[inline]
    fn number(&mut self, item: NumberItem) -> io::Result<()> {
        end_a_copy(self.origin);
        self.reply.borrow_mut().number(item)
    }
}

/// What comes of a call that is made here.
pub(crate) fn run_here(call: Call) -> Reply {
    let reply = Rc::default();
    drop(call.run(Box::new(Kept { reply: Rc::clone(&reply), origin: Origin::here() })));
    reply.take()
}

/// What comes of a closure that is called here: the reply of a single call.
pub(crate) fn run_closure<R: Passable>(closure: impl FnOnce() -> R) -> Reply {
    let mut reply = Reply::default();
    let origin = Origin::here();
    let item = catch_call(|| {
        let output = closure();
        end_a_copy(origin);
        item(Vec::new(), VALUE, |part| part.value(&output)).map_err(|error| Failure::Output(error.to_string()))
    });
    end_a_copy(origin);
    let failure = match item.map_err(Failure::Panicked).and_then(|item| item) {
        Ok(item) => reply.item(item).err().map(|error| Failure::Output(error.to_string())),
        Err(failure) => Some(failure),
    };
    if let Some(failure) = failure {
        tell_fault(&mut reply, &Fault::here(failure), Vec::new());
    }
    reply
}

/// One item of a reply.
#[derive(Debug)]
pub(crate) enum Item<R> {
    Value(R),
    Fault(Fault),
    /// For how many nanoseconds the chunk ran.
    Ran(u64),
    /// What came is no `R`.
    Undecodable(DecodeError),
}

/// Reads the items of a reply, from the first on.
#[derive(Debug)]
pub(crate) struct Items<'r> {
    rest: &'r [u8],
    parcels: slice::Iter<'r, Parcel>,
}

impl Reply {
    /// The same of a single call that was made so often. Only a failure tells that.
    pub(crate) fn after(self, attempts: u32) -> Self {
        match self.items().next::<()>() {
            Some(Item::Fault(fault)) if attempts != fault.attempts => {
                let mut reply = Self::default();
                tell_fault(&mut reply, &Fault { attempts, ..fault }, Vec::new());
                reply
            }
            _ => self,
        }
    }

    pub(crate) fn items(&self) -> Items<'_> {
        Items::of(&self.bytes, &self.parcels)
    }
}

impl<'r> Items<'r> {
    /// Those of a reply whose parts are kept by themselves.
    #[inline]
    pub(crate) fn of(bytes: &'r [u8], parcels: &'r [Parcel]) -> Self {
        Self { rest: bytes, parcels: parcels.iter() }
    }

    /// What has not been read.
    #[inline]
    pub(crate) fn rest(&self) -> (&'r [u8], &'r [Parcel]) {
        (self.rest, self.parcels.as_slice())
    }

    /// The tag of the next item.
    pub(crate) fn tag(&self) -> Option<u8> {
        match *self.rest.first()? {
            PARCEL => (*self.parcels.as_slice().first()?.body).as_ref().first().copied(),
            tag => Some(tag),
        }
    }

    /// Takes up to so many items as long as they are numbers of this type, and says how many. It takes a nanosecond for each.
    #[inline]
    pub(crate) fn numbers<R: Passable>(&mut self, most: usize, mut take: impl FnMut(R)) -> usize {
        if !bulk::is_number::<R>() {
            return 0;
        }
        let tag = NUMBER | size_of::<R>() as u8;
        let mut taken = 0;
        for item in self.rest.chunks_exact(1 + size_of::<R>()).take(most) {
            let Some(number) =
                item.split_first().filter(|(its, _)| **its == tag).and_then(|(_, it)| bulk::number_from(it))
            else {
                break;
            };
            take(number);
            taken += 1;
        }
        self.rest = &self.rest[taken * (1 + size_of::<R>())..];
        taken
    }

    /// Passes over the next item; `None` after the last one that is whole.
    pub(crate) fn skip(&mut self) -> Option<()> {
        let (&tag, rest) = self.rest.split_first()?;
        self.rest = match tag {
            PARCEL => self.parcels.next().map(|_| rest)?,
            number if number & NUMBER != 0 => rest.get(usize::from(number & !NUMBER)..)?,
            _ => &rest[part(rest)?.1..],
        };
        Some(())
    }

    /// The next item; `None` after the last one that is whole.
    #[inline]
    pub(crate) fn next<R: Passable>(&mut self) -> Option<Item<R>> {
        let (&tag, rest) = self.rest.split_first()?;
        if tag & NUMBER != 0 {
            let (number, rest) = rest.split_at_checked(usize::from(tag & !NUMBER))?;
            self.rest = rest;
            return Some(bulk::number_from(number).map_or_else(|| read(tag, number, Vec::new()), Item::Value));
        }
        if tag == PARCEL {
            let parcel = self.parcels.next()?;
            self.rest = rest;
            return Some(read_parcel(parcel));
        }
        let (part, len) = part(rest)?;
        self.rest = &rest[len..];
        Some(read(tag, part, Vec::new()))
    }
}

fn read_parcel<R: Passable>(parcel: &Parcel) -> Item<R> {
    let descriptors = parcel.descriptors.iter().map(OwnedFd::try_clone).collect::<io::Result<_>>();
    let body = (*parcel.body).as_ref();
    let whole = body.split_first().and_then(|(&tag, rest)| Some((tag, part(rest)?.0)));
    match (whole, descriptors) {
        (Some((tag, part)), Ok(descriptors)) => read(tag, part, descriptors),
        _ => read(PARCEL, &[], Vec::new()),
    }
}

#[inline]
fn read<R: Passable>(tag: u8, part: &[u8], descriptors: Vec<OwnedFd>) -> Item<R> {
    let item = match tag {
        VALUE => decode_slice(part, descriptors).map(Item::Value),
        FAULT => decode_slice(part, descriptors).map(Item::Fault),
        RAN => decode_slice(part, descriptors).map(Item::Ran),
        // No bool is two: a worker of this image does not write it.
        _ => decode_slice::<bool>(&[tag], descriptors).map(|_| Item::Ran(0)),
    };
    item.unwrap_or_else(Item::Undecodable)
}

/// The arguments of a chunk without its first items; `None` if there are not so many.
pub(crate) fn without_items(mut chunk: Vec<u8>, items: u32) -> Option<Vec<u8>> {
    let (&form, rest) = chunk.split_first()?;
    let mut end = 1;
    match form {
        PARTS => {
            for _ in 0..items {
                end += part(&chunk[end..])?.1;
            }
        }
        width => end += usize::from(width).checked_mul(items as usize).filter(|&bytes| bytes <= rest.len())?,
    }
    chunk.drain(1..end);
    Some(chunk)
}

/// The part that these bytes begin with, and how many bytes it takes with its length; `None` if it is not whole.
#[inline]
fn part(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let (len, prefix) = match *bytes.first()? {
        short if short < 0x80 => (usize::from(short), 1),
        _ => long_prefix(bytes)?,
    };
    let end = prefix.checked_add(len)?;
    Some((bytes.get(prefix..end)?, end))
}

/// A length as postcard writes it, seven bits a byte, and how many bytes it takes.
fn long_prefix(bytes: &[u8]) -> Option<(usize, usize)> {
    let last = bytes.iter().take(LENGTH_BYTES_MAX).position(|byte| byte & 0x80 == 0)?;
    let len = bytes[..=last]
        .iter()
        .rev()
        .try_fold(0_usize, |len, byte| len.checked_mul(0x80).map(|len| len | usize::from(byte & 0x7F)))?;
    Some((len, last + 1))
}

/// What a length takes at most.
const LENGTH_BYTES_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn half(number: u64) -> u64 {
        assert!(number.is_multiple_of(2), "{number} is odd");
        number / 2
    }

    fn arguments(items: &[u64]) -> Message {
        let mut encoder = Encoder::new();
        encoder.bytes(&[PARTS]);
        for item in items {
            encoder.part(|part| part.value(item)).unwrap();
        }
        encoder.finish()
    }

    #[test]
    fn a_call_is_made_by_its_name() {
        let mut encoder = Encoder::new();
        encoder.value(&84_u64).unwrap();
        let function = name_single::<_, (u64,)>(half).unwrap();
        let reply = run_here(Call { function, arguments: Load::Encoded(encoder.finish()) });
        let mut items = reply.items();
        assert!(matches!(items.next::<u64>(), Some(Item::Value(42))));
        assert!(items.next::<u64>().is_none());
    }

    #[test]
    fn an_item_that_fails_leaves_its_neighbors_alone() {
        let function = name_chunk::<_, (u64,)>(half).unwrap();
        let reply = run_here(Call { function, arguments: Load::Encoded(arguments(&[2, 3, 4])) });
        let mut items = reply.items();
        assert!(matches!(items.next::<u64>(), Some(Item::Value(1))));
        let Some(Item::Fault(Fault { failure: Failure::Panicked(panic), .. })) = items.next::<u64>() else { panic!() };
        assert_eq!(panic.message, "3 is odd");
        assert!(matches!(items.next::<u64>(), Some(Item::Value(2))));
        assert!(matches!(items.next::<u64>(), Some(Item::Ran(_))));
    }

    #[test]
    fn a_reply_that_was_cut_off_has_the_items_that_are_whole() {
        let function = name_chunk::<_, (Vec<u8>,)>(|bytes: Vec<u8>| bytes).unwrap();
        let mut encoder = Encoder::new();
        encoder.bytes(&[PARTS]);
        for len in [100_usize, 1000, 100_000] {
            encoder.part(|part| part.value(&vec![7_u8; len])).unwrap();
        }
        let mut reply = run_here(Call { function, arguments: Load::Encoded(encoder.finish()) });
        for cut in [reply.bytes.len() - 20, 1200, 1100, 200, 101, 1] {
            reply.bytes.truncate(cut);
            let mut items = reply.items();
            let whole = std::iter::from_fn(|| items.next::<Vec<u8>>()).count();
            let expected = [103, 1108, 101_115].iter().filter(|&&end| end <= cut).count();
            assert_eq!(whole, expected, "{cut}");
        }
    }
}
