//! schemathesis makes requests out of the OpenAPI document, right and wrong ones, and holds the
//! answers of the whole system against what the document says of them. `./test` installs it.

use std::path::{Path, PathBuf};
use std::process::Command;

use system_tests::deployment::Embedded;
use system_tests::leash;
use system_tests::process::{run, target_folder};

/// Set by `./test` to the program that it has installed.
const PROGRAM: &str = "TEST_SCHEMATHESIS";
/// Whose cases are known to pass; another one is a search for new faults.
const SEED: &str = "20261126";

#[test]
fn schemathesis_finds_no_answer_that_is_not_as_the_document_says() {
    let Some(program) = program() else {
        eprintln!(
            "SKIPPED: schemathesis is not installed; ./test does that where there is python3"
        );
        return;
    };
    let mut system = Embedded::create();
    system.service.start_and_wait();
    let seed = std::env::var("SCHEMATHESIS_SEED").unwrap_or_else(|_| SEED.to_owned());
    println!("SCHEMATHESIS_SEED={seed}");
    let settings = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemathesis");
    let mut command = Command::new(program);
    command
        .arg("--config-file")
        .arg(settings.join("schemathesis.toml"))
        .arg("run")
        .arg(format!("http://{}/openapi.json", system.service.address()))
        .args(["--seed", &seed, "--no-color"])
        // It keeps notes where it runs.
        .current_dir(leash::temporary_folder("schemathesis"))
        .env("PYTHONPATH", &settings)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    println!("{}", run(&mut command));
    assert!(system.service.stop().success());
}

fn program() -> Option<PathBuf> {
    let installed = target_folder().join("schemathesis/bin/schemathesis");
    match std::env::var_os(PROGRAM) {
        Some(program) => Some(program.into()),
        None => installed.exists().then_some(installed),
    }
}
