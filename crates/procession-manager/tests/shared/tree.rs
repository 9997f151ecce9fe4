//! Objects that give others away: also such of their own type, which the conditions of a type must not go round in circles for.

use procession_manager::{BaseManager, Hosted, shared};

/// A node of a tree whose nodes are objects, each by itself.
#[derive(Debug)]
pub(crate) struct Node {
    name: String,
    children: Vec<Hosted<Node>>,
    friends: Vec<NodeProxy>,
    /// Of a type that gives nodes away.
    notes: Vec<Hosted<Note>>,
}

/// What is noted about a node.
#[derive(Debug)]
pub(crate) struct Note(Hosted<Node>, String);

#[shared]
impl Node {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), children: Vec::new(), friends: Vec::new(), notes: Vec::new() }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn add(&mut self, name: &str) -> Hosted<Self> {
        let child = Hosted::new(Self::new(name));
        self.children.push(child.clone());
        child
    }

    pub(crate) fn first(&self) -> Option<Hosted<Self>> {
        self.children.first().cloned()
    }

    pub(crate) fn child(&self, name: &str) -> Result<Hosted<Node>, String> {
        let mut children = self.children.iter();
        let child = children.find(|child| child.with(|child| child.name == name));
        child.cloned().ok_or_else(|| format!("{} has no {name}", self.name))
    }

    pub(crate) fn children(&self) -> Vec<Hosted<Node>> {
        self.children.clone()
    }

    pub(crate) fn befriend(&mut self, friend: NodeProxy) -> usize {
        self.friends.push(friend);
        self.friends.len()
    }

    pub(crate) fn friends(&self) -> &[NodeProxy] {
        &self.friends
    }

    pub(crate) fn note(&mut self, text: &str) -> Option<(Hosted<Note>, usize)> {
        let note = Hosted::new(Note(self.children.first()?.clone(), text.to_owned()));
        self.notes.push(note.clone());
        Some((note, self.notes.len()))
    }
}

#[shared]
impl Note {
    pub(crate) fn of(&self) -> Hosted<Node> {
        self.0.clone()
    }

    pub(crate) fn text(&self) -> &str {
        &self.1
    }
}

/// Walks over them.
pub(crate) fn check(manager: &BaseManager) {
    let root: NodeProxy = manager.create::<Node>(("root".to_owned(),)).unwrap();
    assert!(root.first().unwrap().is_none());
    let child: NodeProxy = root.add("child").unwrap();
    assert_eq!(child.name().unwrap(), "child");
    assert_eq!(root.first().unwrap(), Some(child.clone()));
    assert_eq!(root.child("child").unwrap(), Ok(child.clone()));
    assert_eq!(root.child("none").unwrap(), Err("root has no none".to_owned()));
    let other = root.add("other").unwrap();
    assert_eq!(root.children().unwrap(), [child.clone(), other.clone()]);
    assert_eq!(child.befriend(other.clone()).unwrap(), 1);
    let friends: Vec<NodeProxy> = child.friends().unwrap();
    assert_eq!(friends, [other]);
    let (note, count): (NoteProxy, usize) = root.note("important").unwrap().unwrap();
    assert_eq!((note.text().unwrap().as_str(), count), ("important", 1));
    assert_eq!(note.of().unwrap(), child);
}
