//! The watcher that cleans up when the test's process ends, however it ends.
//!
//! Values that start servers stop them when they are dropped. But a process that is killed, times out or keeps a server in
//! a `static` drops nothing. So the first server of a process also starts one shell outside the process' group that waits
//! for the end of its standard input, whose other end only this process holds: the kernel closes it with the process. The shell
//! then stops the servers that it was told of and removes the process' temporary folder.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex};

// Lines it reads: "add SIGNAL GROUP", "remove SIGNAL GROUP".
const WATCHER: &str = r#"
trap '' HUP INT TERM
root=$1
servers=' '
while read -r action signal group; do
    case $action in
        add) servers="$servers$signal:$group " ;;
        remove) servers="${servers%%" $signal:$group "*} ${servers#*" $signal:$group "}" ;;
    esac
done
for server in $servers; do
    kill -s "${server%%:*}" -- "-${server##*:}" 2>/dev/null
done
tries=0
for server in $servers; do
    while kill -s 0 -- "-${server##*:}" 2>/dev/null; do
        tries=$((tries + 1))
        if [ "$tries" -gt 100 ]; then
            kill -s KILL -- "-${server##*:}" 2>/dev/null
            break
        fi
        sleep 0.1
    done
done
rm -rf "$root"
"#;

struct Keeper {
    root: PathBuf,
    orders: Mutex<ChildStdin>,
    // Held so that the handle lives as long as the process; its end is the process' end.
    _watcher: Child,
}

static KEEPER: LazyLock<Keeper> = LazyLock::new(|| {
    let root = tempfile::Builder::new().prefix("pipeline-tests-").tempdir().expect("the temporary folder can be written").keep();
    // Servers that run as another user pass through, and see nothing.
    std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o711)).expect("the folder is ours");
    let mut watcher = Command::new("/bin/sh")
        .args(["-c", WATCHER, "pipeline-tests-keeper"])
        .arg(&root)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("every Unix has /bin/sh");
    let orders = Mutex::new(watcher.stdin.take().expect("it is piped"));
    Keeper { root, orders, _watcher: watcher }
});

/// The folder that everything temporary of this process lies in.
#[must_use]
pub fn root() -> &'static Path {
    &KEEPER.root
}

/// A new folder for a server or a project.
#[must_use]
pub fn folder(name: &str) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let folder = root().join(format!("{name}-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
    std::fs::create_dir(&folder).expect("the process' temporary folder can be written");
    folder
}

fn order(action: &str, signal: &str, group: u32) {
    let mut orders = KEEPER.orders.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    writeln!(orders, "{action} {signal} {group}").expect("the watcher reads until this process ends");
}

/// The process group is to be ended by this signal should this process end first.
pub(crate) fn watch(signal: &str, group: u32) {
    order("add", signal, group);
}

/// The process group has ended.
pub(crate) fn forget(signal: &str, group: u32) {
    order("remove", signal, group);
}

/// Sends a signal to a process group; a group that is gone is no error.
pub(crate) fn signal(signal: &str, group: u32) {
    let sent = Command::new("/bin/sh")
        .args(["-c", r#"kill -s "$1" -- "-$2""#, "signal", signal, &group.to_string()])
        .stderr(Stdio::null())
        .status();
    drop(sent);
}
