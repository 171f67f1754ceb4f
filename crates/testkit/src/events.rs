//! The events of a gateway under test, read from the JSON-lines file that it writes them to.
//!
//! Events arrive a little after the answer, so a test waits for them. [`EventFile::so_far`] is what arrived: only of a gateway that was
//! stopped, or that says that nothing waits any more, it is all there is, and shows that there are *no more*.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::wait::{self, PATIENCE};

/// An event file, which need not exist yet.
#[derive(Debug, Clone)]
pub struct EventFile {
    path: PathBuf,
}

impl EventFile {
    /// The file at `path`.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The events that stand in it by now, in its order; none when the file is not there. A last line without its end is still
    /// being written and is left out. What was recorded last may still be on its way: see the module.
    ///
    /// # Panics
    /// When a finished line is no JSON object, or the file cannot be read.
    pub fn so_far(&self) -> Vec<Value> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => panic!("{} cannot be read: {error}", self.path.display()),
        };
        let finished = text.rfind('\n').map_or("", |end| text.get(..end).unwrap_or_default());
        finished.lines().enumerate().map(|(index, line)| self.event(index + 1, line)).collect()
    }

    fn event(&self, number: usize, line: &str) -> Value {
        match serde_json::from_str(line) {
            Ok(event @ Value::Object(_)) => event,
            Ok(_) => panic!("{}:{number} is no object: {line}", self.path.display()),
            Err(error) => panic!("{}:{number} is no JSON: {error}: {line}", self.path.display()),
        }
    }

    /// Waits until there are at least `count` events, [`PATIENCE`] at most, and returns all there are then.
    ///
    /// # Panics
    /// When there are fewer after that time.
    pub fn wait_for(&self, count: usize) -> Vec<Value> {
        self.wait_for_within(count, PATIENCE)
    }

    /// As [`Self::wait_for`], with the test's own bound.
    ///
    /// # Panics
    /// When there are fewer after that time.
    pub fn wait_for_within(&self, count: usize, within: Duration) -> Vec<Value> {
        let found = wait::until(within, || Some(self.so_far()).filter(|events| events.len() >= count));
        found.unwrap_or_else(|| panic!("{count} events were awaited for {within:?}, there are: {:#?}", self.so_far()))
    }

    /// The events of the request with this id: those whose `id` or `request.id` it is.
    fn of_request(&self, id: &str) -> Vec<Value> {
        self.so_far().into_iter().filter(|event| belongs_to(event, id)).collect()
    }

    /// Waits for the event of the request with this id, [`PATIENCE`] at most.
    ///
    /// # Panics
    /// When there is none after that time, or more than one.
    pub fn wait_for_request(&self, id: &str) -> Value {
        let found = wait::until(PATIENCE, || Some(self.of_request(id)).filter(|events| !events.is_empty()));
        match found.map(<[Value; 1]>::try_from) {
            Some(Ok([event])) => event,
            Some(Err(several)) => panic!("request {id} has {} events: {several:#?}", several.len()),
            None => panic!("request {id} has no event; there are: {:#?}", self.so_far()),
        }
    }
}

fn belongs_to(event: &Value, id: &str) -> bool {
    [event.get("id"), event.pointer("/request/id")].into_iter().flatten().any(|found| found == id)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::Write as _;

    use super::*;

    fn with(text: &str) -> (tempfile::TempDir, EventFile) {
        let folder = tempfile::tempdir().unwrap();
        let file = EventFile::at(folder.path().join("events.jsonl"));
        fs::write(file.path(), text).unwrap();
        (folder, file)
    }

    #[test]
    fn a_file_that_is_not_there_yet_has_no_events() {
        assert!(EventFile::at("/no/such/file").so_far().is_empty());
    }

    #[test]
    fn an_unfinished_line_is_left_out() {
        for (text, expected) in
            [("", 0), ("{\"id\":\"a", 0), ("{\"id\":\"a\"}", 0), ("{\"id\":\"a\"}\n", 1), ("{\"id\":\"a\"}\n{\"id", 1)]
        {
            assert_eq!(with(text).1.so_far().len(), expected, "{text:?}");
        }
    }

    #[test]
    #[should_panic(expected = "events.jsonl:2 is no JSON")]
    fn a_broken_line_fails_the_test() {
        with("{}\n{\n{}\n").1.so_far();
    }

    #[test]
    #[should_panic(expected = "events.jsonl:1 is no object")]
    fn a_line_that_is_no_object_fails_the_test() {
        with("[]\n").1.so_far();
    }

    #[test]
    fn events_are_found_by_either_id() {
        let (_folder, file) = with(
            "{\"id\":\"a\",\"request\":{\"id\":\"a\"}}\n{\"id\":\"b\",\"request\":{\"id\":\"r\"}}\n{\"id\":\"c\"}\n",
        );
        assert_eq!(file.wait_for_request("a")["id"], "a");
        assert_eq!(file.wait_for_request("r")["id"], "b");
        assert!(file.of_request("d").is_empty());
    }

    #[test]
    #[should_panic(expected = "request a has 2 events")]
    fn two_events_for_one_request_fail_the_test() {
        with("{\"id\":\"a\"}\n{\"id\":\"a\"}\n").1.wait_for_request("a");
    }

    #[test]
    fn a_late_event_is_waited_for() {
        let (_folder, file) = with("{\"id\":\"a\"}\n");
        let writer = OpenOptions::new().append(true).open(file.path()).unwrap();
        let late = std::thread::spawn(move || {
            let mut writer = writer;
            writer.write_all(b"{\"id\":").unwrap();
            std::thread::sleep(Duration::from_millis(20));
            writer.write_all(b"\"b\"}\n").unwrap();
        });
        assert_eq!(file.wait_for(2).len(), 2);
        late.join().unwrap();
    }

    #[test]
    #[should_panic(expected = "2 events were awaited")]
    fn the_wait_is_bounded() {
        with("{\"id\":\"a\"}\n").1.wait_for_within(2, Duration::from_millis(10));
    }
}
