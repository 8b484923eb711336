//! Ties processes and temporary files to the life of the test process, however it ends.
//!
//! A destructor does not run on Ctrl-C or in an abort. So a shell holds the other end of a pipe: when
//! the pipe closes, because this process is gone, it kills what is still on the leash, by process
//! group id, and removes the one folder that holds all temporary files.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// Reads `hold <pid>` and `release <pid>` until the pipe closes; `$1` is the folder to remove.
const HOLDER: &str = r#"
held=' '
while read -r verb pid; do
    case $verb in
        hold) held="$held$pid " ;;
        release) case $held in *" $pid "*) held="${held%%" $pid "*} ${held#*" $pid "}" ;; esac ;;
    esac
done
for pid in $held; do kill -s KILL -- "-$pid" 2>/dev/null; done
# A server that is just ending may still write.
rm -rf -- "$1" || { sleep 1; rm -rf -- "$1"; }
"#;

struct Leash {
    folder: PathBuf,
    holder: Mutex<Child>,
}

/// The shell lives in a process group of its own, so that Ctrl-C does not reach it.
fn leash() -> &'static Leash {
    static LEASH: OnceLock<Leash> = OnceLock::new();
    LEASH.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!(
            "ticket-saga-{}-{:08x}",
            std::process::id(),
            rand::random::<u32>()
        ));
        fs::create_dir(&folder).expect("a folder for temporary files");
        // A server that runs as another user must be able to reach its own folder in here.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o711)).expect("its mode");
        let holder = Command::new("sh")
            .args(["-c", HOLDER, "leash"])
            .arg(&folder)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        Leash {
            folder,
            holder: Mutex::new(holder),
        }
    })
}

/// Kill this process group when this process ends.
pub fn hold(group: u32) {
    tell("hold", group);
}

/// The process group is gone; its id may soon belong to someone else.
pub fn release(group: u32) {
    tell("release", group);
}

fn tell(verb: &str, group: u32) {
    let mut holder: MutexGuard<'_, Child> = leash()
        .holder
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let pipe = holder.stdin.as_mut().expect("the pipe is never taken");
    writeln!(pipe, "{verb} {group}").expect("the holder reads until we end");
}

/// A new empty folder, removed at the latest when this process ends.
pub fn temporary_folder(name: &str) -> PathBuf {
    let folder = leash()
        .folder
        .join(format!("{name}-{:08x}", rand::random::<u32>()));
    fs::create_dir(&folder).expect("a temporary folder");
    folder
}

/// Whom to become to start a server that refuses to run as root: nobody else unless we are root.
pub fn unprivileged_user() -> Option<(u32, u32)> {
    let we_are_root = fs::metadata(&leash().folder).is_ok_and(|folder| folder.uid() == 0);
    if !we_are_root {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").expect("the list of users");
    let id_of = |wanted: &str| {
        users.lines().find_map(|line| {
            let mut fields = line.split(':');
            let is_wanted = fields.next() == Some(wanted);
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            is_wanted.then_some((uid, gid))
        })
    };
    Some(
        id_of("postgres")
            .or_else(|| id_of("nobody"))
            .expect("PostgreSQL does not run as root, and there is no user postgres or nobody"),
    )
}

/// Lets `user` own the folder.
pub fn give(folder: &Path, user: Option<(u32, u32)>) {
    if let Some((uid, gid)) = user {
        std::os::unix::fs::chown(folder, Some(uid), Some(gid)).expect("root may give it away");
    }
}
