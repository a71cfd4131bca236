//! Writing documents: all or none, nothing lost of what stood there.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use weir_model::{Document, Mode, Reference};
use weir_sources::{FilesSource, Plan, PolicyFile, WriteError, load};

fn workload(name: &str, address: &str) -> String {
    format!(
        "apiVersion: weir.dev/v1alpha1\nkind: Workload\nmetadata: {{name: {name}, namespace: shop}}\nspec: {{addresses: [{address}]}}\n"
    )
}

fn files(texts: &[&str]) -> Vec<PolicyFile> {
    let file = |(index, text): (usize, &&str)| PolicyFile {
        name: format!("in{index}.yaml"),
        content: (*text).to_owned(),
    };
    texts.iter().enumerate().map(file).collect()
}

fn write_documents(directory: &Path, files: &[PolicyFile]) -> Result<Vec<PathBuf>, WriteError> {
    Plan::apply(directory, files)?.write()
}

/// Every file below a directory, dot-files too.
fn contents(directory: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut left = vec![directory.to_owned()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else {
                let name = path.strip_prefix(directory).unwrap().display().to_string();
                found.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    found
}

fn told(error: WriteError) -> String {
    let text = error.to_string();
    assert!(!error.into_problems().is_empty());
    text
}

#[test]
fn new_documents_get_files_of_their_own() {
    let directory = TempDir::new().unwrap();
    let text = workload("a", "10.0.0.1") + "---\n" + &workload("b", "10.0.0.2");
    let written = write_documents(
        directory.path(),
        &files(&[&text, &workload("c", "10.0.0.3")]),
    )
    .unwrap();
    assert_eq!(written.len(), 3);
    let found = contents(directory.path());
    let names: Vec<&String> = found.keys().collect();
    assert_eq!(
        names,
        [
            "applied/workload-shop-a.yaml",
            "applied/workload-shop-b.yaml",
            "applied/workload-shop-c.yaml"
        ]
    );
    let mode = fs::metadata(directory.path().join(names[0]))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o644);
    let (documents, problems) = load(directory.path()).unwrap();
    assert_eq!((documents.len(), problems.len()), (3, 0));
}

#[test]
fn names_that_look_the_same_do_not_meet() {
    let directory = TempDir::new().unwrap();
    let other = workload("a-b", "10.0.0.1").replace("namespace: shop", "namespace: x");
    let same = workload("b", "10.0.0.2").replace("namespace: shop", "namespace: x-a");
    write_documents(directory.path(), &files(&[&other])).unwrap();
    write_documents(directory.path(), &files(&[&same])).unwrap();
    assert_eq!(load(directory.path()).unwrap().0.len(), 2);
    write_documents(directory.path(), &files(&[&same, &other])).unwrap();
    assert_eq!(contents(directory.path()).len(), 2);
}

#[test]
fn a_document_is_written_where_it_stands() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("mine.yaml");
    fs::write(&file, workload("a", "10.0.0.1")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    write_documents(directory.path(), &files(&[&workload("a", "10.0.0.9")])).unwrap();
    let found = contents(directory.path());
    assert_eq!(found.len(), 1);
    assert!(found["mine.yaml"].contains("10.0.0.9"));
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

#[test]
fn a_file_of_several_documents_is_replaced_only_as_a_whole() {
    let directory = TempDir::new().unwrap();
    let text = workload("a", "10.0.0.1") + "---\n" + &workload("b", "10.0.0.2");
    fs::write(directory.path().join("both.yaml"), &text).unwrap();
    let before = contents(directory.path());
    let error =
        told(write_documents(directory.path(), &files(&[&workload("a", "10.0.0.9")])).unwrap_err());
    assert!(
        error.contains("both.yaml")
            && error.contains("workload shop/b")
            && error.contains("in0.yaml:3"),
        "{error}"
    );
    assert_eq!(contents(directory.path()), before);
    write_documents(
        directory.path(),
        &files(&[&workload("b", "10.0.0.8"), &workload("a", "10.0.0.9")]),
    )
    .unwrap();
    let after = contents(directory.path());
    assert_eq!(after.len(), 1);
    assert!(after["both.yaml"].contains("10.0.0.8") && after["both.yaml"].contains("10.0.0.9"));
}

#[test]
fn one_mistake_and_nothing_is_written() {
    let directory = TempDir::new().unwrap();
    let good = workload("a", "10.0.0.1");
    for (bad, words) in [
        (workload("b", "10.0.0.300"), ["in1.yaml:4", "10.0.0.300"]),
        (workload("a", "10.0.0.2"), ["in1.yaml:3", "given twice"]),
        ("kind: [".to_owned(), ["in1.yaml", "not YAML"]),
    ] {
        let error = told(write_documents(directory.path(), &files(&[&good, &bad])).unwrap_err());
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
        assert!(contents(directory.path()).is_empty());
    }
    fs::write(directory.path().join("broken.yaml"), "kind: [").unwrap();
    let error = told(write_documents(directory.path(), &files(&[&good])).unwrap_err());
    assert!(
        error.contains("broken.yaml:"),
        "what is written could not take effect: {error}"
    );
    assert!(write_documents(&directory.path().join("missing"), &files(&[&good])).is_err());
}

#[test]
fn a_failure_halfway_puts_everything_back() {
    let directory = TempDir::new().unwrap();
    write_documents(directory.path(), &files(&[&workload("a", "10.0.0.1")])).unwrap();
    // Renaming a file over a directory fails, after `a` was renamed.
    fs::create_dir_all(directory.path().join("applied/workload-shop-z.yaml/x")).unwrap();
    let before = contents(directory.path());
    let news = [
        workload("a", "10.0.0.9"),
        workload("b", "10.0.0.2"),
        workload("z", "10.0.0.3"),
    ];
    let error = told(
        write_documents(directory.path(), &files(&[&news[0], &news[1], &news[2]])).unwrap_err(),
    );
    assert!(
        error.contains("workload-shop-z.yaml") && error.contains("nothing was changed"),
        "{error}"
    );
    assert_eq!(
        contents(directory.path()),
        before,
        "no trace of it, hidden or not"
    );
}

#[test]
fn a_file_in_the_place_of_the_directory_is_told() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("applied"), "").unwrap();
    let error =
        told(write_documents(directory.path(), &files(&[&workload("a", "10.0.0.1")])).unwrap_err());
    assert!(
        error.contains("applied could not be created") && error.contains("move it away"),
        "{error}"
    );
}

#[test]
fn a_mode_is_set_in_a_document_of_its_own() {
    let directory = TempDir::new().unwrap();
    let set = |name: &str, mode| {
        let workloads = [Reference::new("shop", name).unwrap()];
        Plan::mode(directory.path(), &workloads, mode)?.write()
    };
    set("photo-db", Mode::Monitor).unwrap();
    let path = directory.path().join("applied/mode-shop-photo-db.yaml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("mode: monitor"), "{text}");
    fs::write(
        &path,
        text.replace("mode: monitor", "mode: monitor, quarantine: true"),
    )
    .unwrap();
    set("photo-db", Mode::Protect).unwrap();
    let (documents, _) = load(directory.path()).unwrap();
    let [Document::Mode(mode)] = [&documents[0].value] else {
        panic!("a mode")
    };
    assert_eq!(
        (mode.spec.mode, mode.spec.quarantine),
        (Some(Mode::Protect), true),
        "the rest of it stays"
    );

    let other = "apiVersion: weir.dev/v1alpha1\nkind: Mode\nmetadata: {name: all, namespace: shop}\nspec: {target: {matchLabels: {}}, mode: protect}\n";
    fs::write(directory.path().join("all.yaml"), other).unwrap();
    let error = told(set("all", Mode::Discover).unwrap_err());
    assert!(
        error.contains("all.yaml:4") && error.contains("other workloads than shop/all"),
        "{error}"
    );
}

#[test]
fn a_plan_says_what_it_comes_to_before_it_is_done() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("a.yaml"), workload("a", "10.0.0.1")).unwrap();
    fs::write(directory.path().join("b.yaml"), workload("b", "10.0.0.2")).unwrap();
    let source = FilesSource::open(directory.path()).unwrap();
    let plan = source
        .plan(&files(&[
            &workload("a", "10.0.0.1"),
            &workload("b", "10.0.0.9"),
            &workload("c", "10.0.0.3"),
        ]))
        .unwrap();
    assert_eq!(plan.changed(), ["workload shop/b", "workload shop/c"]);
    let places: Vec<String> = plan
        .documents()
        .iter()
        .map(|located| located.file.clone())
        .collect();
    assert_eq!(places, ["in0.yaml", "in1.yaml", "in2.yaml"]);
    assert_eq!(
        source.state().documents.unwrap().len(),
        2,
        "nothing happened yet"
    );
    let state = source.write(&plan).unwrap();
    assert_eq!(
        state.documents.unwrap().len(),
        3,
        "and now it did, without waiting"
    );
    let plan = source
        .plan_mode(&[Reference::new("shop", "a").unwrap()], Mode::Protect)
        .unwrap();
    assert_eq!(plan.changed(), ["mode shop/a"]);
}

/// Fills a small file system; run by `a_full_disk_loses_nothing` where that is mounted.
#[test]
fn full_disk_child() {
    let Some(directory) = std::env::var_os("WEIR_TEST_FULL_DISK") else {
        return;
    };
    let directory = Path::new(&directory);
    write_documents(directory, &files(&[&workload("a", "10.0.0.1")])).unwrap();
    let large = workload("b", &vec!["10.0.0.2"; 20_000].join(", "));
    let before = contents(directory);
    let error = told(
        write_documents(directory, &files(&[&workload("a", "10.0.0.9"), &large])).unwrap_err(),
    );
    assert!(
        error.contains("nothing was changed") && error.contains("free some space"),
        "{error}"
    );
    assert_eq!(contents(directory), before);
}

#[test]
fn a_full_disk_loses_nothing() {
    let directory = TempDir::new().unwrap();
    let inside = "mount -t tmpfs -o size=64k tmpfs \"$WEIR_TEST_FULL_DISK\" || exit 77; exec \"$0\" --exact full_disk_child";
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", inside])
        .arg(std::env::current_exe().unwrap())
        .env("WEIR_TEST_FULL_DISK", directory.path())
        .output();
    match output {
        Ok(output) if output.status.success() => {
            assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
        }
        Ok(output) if output.status.code() == Some(101) => {
            panic!("{}", String::from_utf8_lossy(&output.stdout));
        }
        _ => eprintln!(
            "skipped: a_full_disk_loses_nothing (no namespaces for a small file system here)"
        ),
    }
}
