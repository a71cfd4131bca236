//! A watched directory: what is read, what is left alone, what stays when something breaks.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use weir_sources::{FilesSource, State, load};

fn workload(name: &str) -> String {
    format!(
        "apiVersion: weir.dev/v1alpha1\nkind: Workload\nmetadata: {{name: {name}}}\nspec: {{}}\n"
    )
}

fn put(directory: &Path, name: &str, content: impl AsRef<[u8]>) {
    let path = directory.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn names(state: &State) -> Vec<String> {
    let documents = state.documents.as_deref().expect("a good reading");
    documents
        .iter()
        .map(|located| located.value.metadata().name.clone())
        .collect()
}

/// The next state, or a failure of the test: notification is fast, the slow look takes seconds.
async fn next(source: &mut FilesSource) -> State {
    tokio::time::timeout(Duration::from_secs(30), source.next_change())
        .await
        .expect("a change is noticed")
}

fn run<F: Future>(body: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(body)
}

#[test]
fn reads_what_is_policy_and_leaves_the_rest_alone() {
    let directory = TempDir::new().unwrap();
    put(directory.path(), "b.yaml", workload("b"));
    put(
        directory.path(),
        "a/z.yml",
        workload("az") + "---\n" + &workload("ay"),
    );
    for name in [
        ".hidden.yaml",
        ".git/c.yaml",
        "#b.yaml#",
        "#b.yaml",
        "b.yaml~",
        ".b.yaml.swp",
        "notes.txt",
    ] {
        put(directory.path(), name, "not: [policy");
    }
    fs::create_dir(directory.path().join("dir.yaml")).unwrap();
    std::os::unix::fs::symlink(directory.path(), directory.path().join("loop")).unwrap();
    let source = FilesSource::open(directory.path()).unwrap();
    assert_eq!(source.state().problems, []);
    assert_eq!(names(&source.state()), ["az", "ay", "b"]);
    let documents = source.state().documents.unwrap();
    assert_eq!(
        documents[2].file,
        directory.path().join("b.yaml").display().to_string()
    );
    assert_eq!(source.watch_failure(), None);
}

#[test]
fn links_of_a_mounted_volume_are_read() {
    let directory = TempDir::new().unwrap();
    put(directory.path(), "..2026/a.yaml", workload("a"));
    std::os::unix::fs::symlink("..2026", directory.path().join("..data")).unwrap();
    std::os::unix::fs::symlink("..data/a.yaml", directory.path().join("a.yaml")).unwrap();
    assert_eq!(
        names(&FilesSource::open(directory.path()).unwrap().state()),
        ["a"]
    );
}

#[test]
fn a_directory_that_is_not_there_is_told() {
    let directory = TempDir::new().unwrap();
    let missing = directory.path().join("nothing");
    let told = FilesSource::open(&missing).unwrap_err().to_string();
    assert!(told.contains("nothing does not exist; create it"), "{told}");
    put(directory.path(), "file.yaml", workload("a"));
    let told = FilesSource::open(directory.path().join("file.yaml"))
        .unwrap_err()
        .to_string();
    assert!(told.contains("is not a directory"), "{told}");
    let (documents, problems) = load(&directory.path().join("file.yaml")).unwrap();
    assert_eq!(
        (documents.len(), problems.len()),
        (1, 0),
        "one file can be read by itself"
    );
    assert!(load(&missing).is_err());
}

#[test]
fn an_empty_directory_is_an_empty_set_and_a_broken_one_is_none() {
    let directory = TempDir::new().unwrap();
    let source = FilesSource::open(directory.path()).unwrap();
    assert_eq!(names(&source.state()), [""; 0]);
    let directory = TempDir::new().unwrap();
    put(directory.path(), "a.yaml", workload("a"));
    put(directory.path(), "b.yaml", "kind: [");
    let source = FilesSource::open(directory.path()).unwrap();
    assert_eq!(source.state().documents, None, "never a part");
    assert_eq!(source.state().problems.len(), 1);
}

#[test]
fn changes_come_and_a_broken_file_keeps_the_whole_last_good_set() {
    let directory = TempDir::new().unwrap();
    put(directory.path(), "a.yaml", workload("a"));
    run(async {
        let mut source = FilesSource::open(directory.path()).unwrap();
        assert_eq!(names(&source.state()), ["a"]);

        put(directory.path(), "new/b.yaml", workload("b"));
        assert_eq!(names(&next(&mut source).await), ["a", "b"]);

        put(directory.path(), "a.yaml", workload("changed"));
        put(
            directory.path(),
            "new/b.yaml",
            "apiVersion: weir.dev/v1alpha1\nkind: Worklod\n",
        );
        let mut state = next(&mut source).await;
        // The two writes may be seen one after the other.
        if state.problems.is_empty() {
            state = next(&mut source).await;
            assert_eq!(names(&state), ["changed", "b"]);
        } else {
            assert_eq!(
                names(&state),
                ["a", "b"],
                "not even the good half of the change"
            );
        }
        let told = state.problems[0].to_string();
        assert!(
            told.contains("new/b.yaml:2:1: kind") && told.contains("Workload?"),
            "{told}"
        );

        fs::remove_file(directory.path().join("new/b.yaml")).unwrap();
        let state = next(&mut source).await;
        assert_eq!(
            (names(&state), state.problems.len()),
            (vec!["changed".to_owned()], 0)
        );
    });
}

#[test]
fn a_directory_that_goes_and_comes_back_is_found_again() {
    let parent = TempDir::new().unwrap();
    let directory = parent.path().join("policy");
    put(&directory, "a.yaml", workload("a"));
    run(async {
        let mut source = FilesSource::open(&directory).unwrap();
        fs::remove_dir_all(&directory).unwrap();
        let mut state = next(&mut source).await;
        while state.problems.is_empty() {
            // The file goes before its directory does.
            state = next(&mut source).await;
        }
        assert!(
            state.problems[0].message.contains("does not exist"),
            "{:?}",
            state.problems
        );
        assert!(state.documents.is_some(), "what was good stays");
        put(&directory, "b.yaml", workload("b"));
        let mut state = next(&mut source).await;
        while state.documents.is_none() || names(&state) != ["b"] {
            state = next(&mut source).await;
        }
        assert_eq!(state.problems, []);
    });
}

#[test]
fn files_that_cannot_be_read_are_told_with_their_names() {
    let directory = TempDir::new().unwrap();
    put(directory.path(), "latin.yaml", b"# a\n# b\xe4\n");
    put(
        directory.path(),
        "large.yaml",
        vec![b' '; weir_model::FILE_BYTES_MAX + 1],
    );
    std::os::unix::fs::symlink("nowhere", directory.path().join("link.yaml")).unwrap();
    std::os::unix::net::UnixListener::bind(directory.path().join("socket.yaml")).unwrap();
    let state = FilesSource::open(directory.path()).unwrap().state();
    let told: Vec<String> = state.problems.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 4, "{told:#?}");
    for words in [
        ["latin.yaml:2:4", "UTF-8"],
        ["large.yaml", "split"],
        ["link.yaml", "cannot be read"],
        ["socket.yaml", "not a regular"],
    ] {
        assert!(
            told.iter()
                .any(|told| words.iter().all(|word| told.contains(word))),
            "{words:?}: {told:#?}"
        );
    }
}

#[test]
fn reading_again_without_a_change_is_no_change() {
    let directory = TempDir::new().unwrap();
    put(directory.path(), "a.yaml", workload("a"));
    run(async {
        let mut source = FilesSource::open(directory.path()).unwrap();
        source.reload();
        put(directory.path(), "a.yaml", workload("a"));
        source.reload();
        let waited = tokio::time::timeout(Duration::from_millis(300), source.next_change()).await;
        assert!(waited.is_err(), "{waited:?}");
    });
}
