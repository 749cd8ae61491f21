//! The backups of docs/backup.md.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use certward_tests::{
    Certward, EmbeddedDatabase, PostgresServer, Scene, Setup, SmallDisk, certward_binary, effort, run,
    workspace_root,
};
use serde_json::Value;

fn backup(certward: &Certward, file: &Path) -> Command {
    let mut command = certward.cli_without_key(&["backup", "--config"]);
    command.arg(certward.config()).arg(file);
    command
}

fn restore(certward: &Certward, file: &Path) -> Command {
    let mut command = certward.cli_without_key(&["restore", "--config"]);
    command.arg(certward.config()).arg(file);
    command
}

/// With the master key of the backed up store.
fn restore_with_key(certward: &Certward, file: &Path, of: &Certward) -> Command {
    let mut command = restore(certward, file);
    command.arg("--master-key").arg(of.data().join("master.key"));
    command
}

#[track_caller]
fn succeed(mut command: Command) -> Output {
    let output = run(&mut command);
    assert!(output.status.success(), "{}", text(&output));
    output
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// A stopped certward with much to copy.
fn large_store() -> Scene {
    let mut scene = Scene::new();
    scene.run_one_way();
    assert!(scene.certward.stop().success());
    EmbeddedDatabase::with_table(&scene.certward.data(), "audit").execute(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000)
         INSERT INTO audit (at, actor, action, subject, detail) SELECT i, 'a', 'b', 'c', hex(randomblob(50)) FROM n",
    );
    scene
}

#[test]
fn a_backup_taken_while_it_runs_is_served_after_it_is_restored() {
    let scene = Scene::new();
    let leaf = scene.run_one_way();
    let file = scene.certward.folder().join("backup.db");
    let output = succeed(backup(&scene.certward, &file));
    let key = scene.certward.data().join("master.key").display().to_string();
    assert!(text(&output).contains("1 deployment, 1 upload") && text(&output).contains(&key), "{output:?}");
    scene.api().put_tls(Scene::DEPLOYMENT, &scene.leaf().one_way()).expect(200);

    let mut restored = Certward::prepare(Setup::default());
    let output = succeed(restore_with_key(&restored, &file, &scene.certward));
    assert!(text(&output).contains("Next: start certward"), "{output:?}");
    restored.serve();
    let session = scene.device().connect(restored.mqtts(), Scene::HOST, "restored").unwrap();
    assert_eq!(session.leaf(), leaf.der);
    // Its keys are those of before, and a change is proven without the node of before.
    let api = restored.api_with_key_of(&scene.certward);
    api.put_tls(Scene::DEPLOYMENT, &scene.leaf().one_way()).expect(200);
    api.wait_running(Scene::DEPLOYMENT);
}

#[test]
fn a_backup_is_one_whole_file_that_its_owner_reads_and_sqlite_opens() {
    let mut scene = Scene::new();
    let leaf = scene.run_one_way();
    let folder = scene.certward.folder().to_owned();
    for (name, running) in [("running.db", true), ("stopped.db", false)] {
        if !running {
            assert!(scene.certward.stop().success());
        }
        let before = names(&scene.certward.data());
        let mut open_umask = Command::new("sh");
        open_umask.args(["-c", "umask 000; exec \"$@\"", "sh"]).arg(certward_binary());
        open_umask.args(["backup", "--json", "--config"]).arg(scene.certward.config());
        let output = succeed({
            open_umask.arg(folder.join(name));
            open_umask
        });
        assert_eq!(names(&scene.certward.data()), before, "{name}");
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        let file = folder.join(name);
        assert_eq!(mode(&file), 0o600);
        assert!(!folder.join(format!("{name}.partial")).exists());
        assert_eq!(said["manifest"]["rows"]["deployment"], 1);
        assert_eq!(said["bytes"], fs::metadata(&file).unwrap().len());

        // As docs/backup.md says.
        let sha256 = succeed({
            let mut shell = Command::new("sh");
            shell.args(["-c", "head -c -65 \"$0\" | sha256sum"]).arg(&file);
            shell
        });
        assert_eq!(text(&sha256).split(' ').next(), said["sha256"].as_str());
        let lines = fs::read(&file).unwrap();
        let manifest = lines.rsplit(|byte| *byte == b'\n').nth(2).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(manifest).unwrap(), said["manifest"]);
        let mut sqlite3 = Command::new("sqlite3");
        sqlite3.arg(&file).arg("PRAGMA integrity_check; SELECT count(*) FROM deployment;");
        assert_eq!(text(&succeed(sqlite3)), "ok\n1\n");

        // PKCS#8 of P-256: the private scalar.
        let scalar = &leaf.key_der[36..68];
        let bytes = fs::read(&file).unwrap();
        let found = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        assert!(!found(scalar) && !found(leaf.key_pem.lines().nth(1).unwrap().as_bytes()));
        let master_key = fs::read_to_string(scene.certward.data().join("master.key")).unwrap();
        assert!(!found(master_key.trim().as_bytes()));
        assert!(found(&leaf.der), "the certificate is in it");
    }

    let restored = Certward::prepare(Setup::default());
    // What a killed one leaves.
    fs::create_dir(restored.data()).unwrap();
    fs::write(restored.data().join("restore.partial"), "SQLite format 3").unwrap();
    fs::write(restored.data().join("master.key.partial"), "0f").unwrap();
    let mut open_umask = Command::new("sh");
    open_umask.args(["-c", "umask 000; exec \"$@\"", "sh"]).arg(certward_binary());
    open_umask.args(["restore", "--json", "--config"]).arg(restored.config()).arg(folder.join("running.db"));
    open_umask.arg("--master-key").arg(scene.certward.data().join("master.key"));
    succeed(open_umask);
    assert_eq!(mode(&restored.data()), 0o700);
    assert_eq!(names(&restored.data()), ["lock", "master.key", "store.db"]);
    for name in names(&restored.data()) {
        assert_eq!(mode(&restored.data().join(&name)), 0o600, "{name}");
    }
}

#[test]
fn what_was_acknowledged_before_a_backup_is_in_it_under_a_load_of_changes() {
    let scene = Scene::new();
    scene.run_one_way();
    let api = scene.api();
    let (sent, acknowledged) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let over = AtomicBool::new(false);
    let versions: Vec<_> =
        (0..20).map(|number| scene.authority.server_named(&format!("v{number}"), &[Scene::HOST])).collect();
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 1.. {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                sent.store(number, Ordering::SeqCst);
                api.create_deployment(&format!("d{number}"), "127.0.0.1:1", &[]);
                acknowledged.store(number, Ordering::SeqCst);
                let version = &versions[number % versions.len()];
                api.put_tls(Scene::DEPLOYMENT, &version.one_way()).expect(200);
            }
        });
        let taken = (0..effort().backups).map(|number| {
            thread::sleep(Duration::from_millis(50));
            let file = scene.certward.folder().join(format!("{number}.db"));
            let least = acknowledged.load(Ordering::SeqCst);
            succeed(backup(&scene.certward, &file));
            (file, least, sent.load(Ordering::SeqCst))
        });
        let taken: Vec<(PathBuf, usize, usize)> = taken.collect();
        over.store(true, Ordering::SeqCst);
        assert!(acknowledged.load(Ordering::SeqCst) > effort().backups, "there was hardly any load");
        for (file, least, most) in taken {
            let mut restored = Certward::prepare(Setup::default());
            succeed(restore_with_key(&restored, &file, &scene.certward));
            let mut store = EmbeddedDatabase::open(&restored.data().join("store.db"));
            let count = store.count("SELECT count(*) FROM deployment WHERE id GLOB 'd[0-9]*'");
            let last = store
                .count("SELECT max(CAST(substr(id, 2) AS INTEGER)) FROM deployment WHERE id GLOB 'd[0-9]*'");
            assert_eq!(count, last, "a prefix of the changes");
            let count = usize::try_from(count).unwrap();
            assert!((least..=most).contains(&count), "{least} ≤ {count} ≤ {most}");
            drop(store);
            restored.serve();
            // The handshake proves that certificate and key match.
            scene.device().handshake(restored.mqtts(), Scene::HOST).unwrap();
        }
    });
}

#[test]
fn a_killed_backup_leaves_no_file_or_a_whole_one_and_a_second_try_succeeds() {
    let mut scene = large_store();
    scene.certward.serve();
    let folder = scene.certward.folder().to_owned();
    let begin = Instant::now();
    succeed(backup(&scene.certward, &folder.join("first.db")));
    let usual = begin.elapsed();
    let (kills, mut whole) = (effort().backup_kills, 0);
    for round in 0..kills {
        let file = folder.join("killed.db");
        let mut child = spawn(backup(&scene.certward, &file));
        thread::sleep(usual * u32::try_from(round).unwrap() * 11 / u32::try_from(kills * 10).unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        if file.exists() {
            whole += 1;
        } else {
            succeed(backup(&scene.certward, &file));
        }
        let left = names(&folder).into_iter().filter(|name| name.starts_with("killed.db"));
        assert_eq!(left.collect::<Vec<_>>(), ["killed.db"]);
        let restored = Certward::prepare(Setup::default());
        succeed(restore_with_key(&restored, &file, &scene.certward));
        fs::remove_file(&file).unwrap();
    }
    println!("{kills} kills, {whole} after the end");
    scene.connect(&scene.device(), "undisturbed").unwrap();
    scene.api().put_tls(Scene::DEPLOYMENT, &scene.leaf().one_way()).expect(200);
}

#[test]
fn a_killed_restore_leaves_no_store_or_a_whole_one_and_a_second_try_succeeds() {
    let scene = large_store();
    let file = scene.certward.folder().join("backup.db");
    let output = succeed({
        let mut command = backup(&scene.certward, &file);
        command.arg("--json");
        command
    });
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let length = usize::try_from(said["manifest"]["databaseBytes"].as_u64().unwrap()).unwrap();
    let content = fs::read(&file).unwrap();
    let begin = Instant::now();
    succeed(restore_with_key(&Certward::prepare(Setup::default()), &file, &scene.certward));
    let usual = begin.elapsed();
    let (kills, mut whole) = (effort().backup_kills, 0);
    for round in 0..kills {
        let restored = Certward::prepare(Setup::default());
        let mut child = spawn(restore_with_key(&restored, &file, &scene.certward));
        thread::sleep(usual * u32::try_from(round).unwrap() * 11 / u32::try_from(kills * 10).unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        let store = restored.data().join("store.db");
        if store.exists() {
            whole += 1;
        } else {
            succeed(restore_with_key(&restored, &file, &scene.certward));
        }
        assert!(fs::read(&store).unwrap() == content[..length], "another store");
        assert_eq!(names(&restored.data()), ["lock", "master.key", "store.db"]);
    }
    println!("{kills} kills, {whole} after the end");
}

fn spawn(mut command: Command) -> std::process::Child {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn a_damaged_backup_is_refused_and_nothing_is_written() {
    let scene = Scene::new();
    scene.run_one_way();
    let folder = scene.certward.folder();
    succeed(backup(&scene.certward, &folder.join("good.db")));
    let good = fs::read(folder.join("good.db")).unwrap();
    let length = good.len();
    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    let at =
        [0, 20, 100, length / 3, length / 2, length - 400, length - 67, length - 66, length - 65, length - 1];
    let mut damaged: Vec<Vec<u8>> = at.into_iter().map(flipped).collect();
    damaged.extend(
        [0, 1, 64, 65, 100, length / 2, length - 66, length - 65, length - 1].map(|to| good[..to].to_vec()),
    );
    damaged.push([good.as_slice(), b"\n"].concat());
    damaged.push([b"x", good.as_slice()].concat());
    let file = folder.join("damaged.db");
    for (number, bytes) in damaged.iter().enumerate() {
        fs::write(&file, bytes).unwrap();
        let restored = Certward::prepare(Setup::default());
        let output = run(&mut restore_with_key(&restored, &file, &scene.certward));
        assert_eq!(output.status.code(), Some(1), "{number}: {}", text(&output));
        assert!(text(&output).contains("is no whole backup"), "{number}: {}", text(&output));
        assert!(!restored.data().exists(), "{number}");
    }
}

#[test]
fn a_backup_of_a_newer_program_is_refused_and_nothing_is_written() {
    let mut scene = Scene::new();
    let folder = scene.certward.folder().to_owned();
    let (format, schema) = (folder.join("format.db"), folder.join("schema.db"));
    succeed(backup(&scene.certward, &format));
    let bytes = fs::read(&format).unwrap();
    let covered = bytes.len() - 65;
    let begin = bytes[..covered - 1].iter().rposition(|byte| *byte == b'\n').unwrap();
    let manifest = String::from_utf8(bytes[begin..covered].to_vec()).unwrap();
    let newer = [&bytes[..begin], manifest.replace("\"format\":1", "\"format\":2").as_bytes()].concat();
    let sha256 = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &newer);
    let digits: String = sha256.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    fs::write(&format, [newer, format!("{digits}\n").into_bytes()].concat()).unwrap();

    assert!(scene.certward.stop().success());
    EmbeddedDatabase::with_table(&scene.certward.data(), "deployment")
        .execute("UPDATE schema_version SET version = 9999, compatible = 9999 WHERE part = 'store'");
    succeed(backup(&scene.certward, &schema));
    for (file, words) in [(format, "newer certward (format 2)"), (schema, "newer certward (schema 9999)")] {
        let restored = Certward::prepare(Setup::default());
        let output = run(&mut restore_with_key(&restored, &file, &scene.certward));
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        assert!(text(&output).contains(words), "{}", text(&output));
        assert!(!restored.data().exists());
    }
}

#[test]
fn what_stands_in_the_way_is_named_and_nothing_is_written() {
    let scene = Scene::new();
    scene.run_one_way();
    let folder = scene.certward.folder();
    let file = folder.join("backup.db");
    succeed(backup(&scene.certward, &file));
    let refused = |command: &mut Command, code: i32, words: &[&str]| {
        let output = run(command);
        assert_eq!(output.status.code(), Some(code), "{}", text(&output));
        for word in words {
            assert!(text(&output).contains(word), "{word}: {}", text(&output));
        }
    };

    // A backup is never overwritten, not even by way of a link.
    let before = fs::read(&file).unwrap();
    refused(&mut backup(&scene.certward, &file), 1, &["backup.db exists already", "name another file"]);
    std::os::unix::fs::symlink(folder.join("nowhere"), folder.join("link.db")).unwrap();
    refused(&mut backup(&scene.certward, &folder.join("link.db")), 1, &["exists already"]);
    std::os::unix::fs::symlink(&file, folder.join("new.db.partial")).unwrap();
    refused(&mut backup(&scene.certward, &folder.join("new.db")), 1, &["is a symbolic link"]);
    assert!(fs::read(&file).unwrap() == before && !folder.join("nowhere").exists());
    refused(
        &mut backup(&scene.certward, &folder.join("none/new.db")),
        1,
        &["No such file", "its folder exists"],
    );

    refused(&mut backup(&scene.certward, &folder.join("new2.db/")), 1, &["it names no file"]);

    // A store that is not there, and one of another kind.
    let mut empty = Certward::prepare(Setup::default());
    refused(&mut backup(&empty, &folder.join("new2.db")), 1, &["there is no store in", "data_dir"]);
    assert!(!folder.join("new2.db").exists() && !empty.data().exists());
    refused(&mut restore(&empty, &file), 1, &["no master key", "--master-key FILE"]);
    let other = Certward::start();
    refused(
        &mut restore_with_key(&empty, &file, &other),
        1,
        &["is not the one of the backup", "nothing was changed"],
    );
    refused(
        restore(&empty, &file).env("CERTWARD_MASTER_KEY", "0f".repeat(32)),
        1,
        &["is not the one of the backup"],
    );
    refused(
        restore_with_key(&empty, &file, &scene.certward).env("CERTWARD_MASTER_KEY", "0f".repeat(32)),
        2,
        &["leave --master-key out"],
    );
    assert!(!empty.data().exists());

    // A folder with files of its own keeps them; a master key that fits may be there.
    refused(&mut restore(&other, &file), 1, &["is not empty: it holds", "store.db"]);
    fs::create_dir(empty.data()).unwrap();
    fs::write(empty.data().join("letter.txt"), "mine").unwrap();
    refused(&mut restore_with_key(&empty, &file, &scene.certward), 1, &["it holds letter.txt"]);
    assert_eq!(names(&empty.data()), ["letter.txt"]);
    fs::remove_file(empty.data().join("letter.txt")).unwrap();
    fs::copy(other.data().join("master.key"), empty.data().join("master.key")).unwrap();
    refused(&mut restore_with_key(&empty, &file, &scene.certward), 1, &["is not the one of the backup"]);
    assert_eq!(names(&empty.data()), ["master.key"]);
    fs::copy(scene.certward.data().join("master.key"), empty.data().join("master.key")).unwrap();
    succeed(restore(&empty, &file));
    empty.serve();
    scene.device().handshake(empty.mqtts(), Scene::HOST).unwrap();
}

#[test]
fn a_full_disk_leaves_nothing_behind_and_with_room_a_second_try_succeeds() {
    let Some(disk) = SmallDisk::mount() else { return };
    let scene = large_store();
    let folder = disk.data().parent().unwrap().to_owned();
    let (file, kept) = (folder.join("full.db"), scene.certward.folder().join("backup.db"));
    succeed(backup(&scene.certward, &kept));
    let mut restored = Certward::prepare(Setup { data: Some(disk.data()), ..Setup::default() });
    for mut command in [backup(&scene.certward, &file), restore_with_key(&restored, &kept, &scene.certward)] {
        disk.fill();
        let output = run(&mut command);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        let said = text(&output);
        assert!(said.contains("room") && !said.contains("panicked"), "{said}");
        assert!(!disk.data().join("store.db").exists());
        disk.make_room();
        let left = names(&folder).into_iter().filter(|name| name != "data");
        assert_eq!(left.count(), 0);
        succeed(command);
        let _ = fs::remove_file(&file);
    }
    restored.serve();
    scene.device().handshake(restored.mqtts(), Scene::HOST).unwrap();
}

#[test]
fn a_backup_without_its_master_key_does_not_start() {
    let scene = Scene::new();
    scene.run_one_way();
    let restored = Certward::prepare(Setup::default());
    fs::create_dir(restored.data()).unwrap();
    fs::copy(scene.certward.data().join("store.db"), restored.data().join("store.db")).unwrap();
    let output = run(restored.cli_without_key(&["serve", "--config"]).arg(restored.config()));
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("master key") || text.contains("master.key"), "{text}");
}

#[test]
fn on_postgresql_the_command_that_it_names_makes_a_dump_that_is_served_after_it_is_restored() {
    let server = PostgresServer::shared();
    let database = server.database();
    let mut scene = Scene::with(Setup { store: Some(database.clone()), ..Setup::default() });
    let leaf = scene.run_one_way();
    let with_password = database.replacen("certward@", "certward:CANARY@", 1);
    let output = run(backup(&scene.certward, Path::new("new.db")).env("CERTWARD_STORE", &with_password));
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(!text(&output).contains("CANARY") && !scene.certward.folder().join("new.db").exists());
    let said = text(&output);
    let dump = said.lines().find(|line| line.starts_with("pg_dump ")).expect("a command");
    let mut shell = Command::new("sh");
    succeed({
        shell.args(["-c", dump]).current_dir(scene.certward.folder());
        shell
    });
    let output = run(&mut restore(&scene.certward, Path::new("new.db")));
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(scene.certward.stop().success());

    let another = server.database();
    let mut pg_restore = Command::new("pg_restore");
    pg_restore.args(["--exit-on-error", "--no-owner", "--dbname", &another]);
    pg_restore.arg(scene.certward.folder().join("certward.dump"));
    succeed(pg_restore);
    scene.certward.use_store(another);
    fs::remove_file(scene.certward.data().join("database.seen")).unwrap();
    scene.certward.serve();
    assert_eq!(scene.connect(&scene.device(), "restored").unwrap().leaf(), leaf.der);
    scene.api().put_tls(Scene::DEPLOYMENT, &scene.leaf().one_way()).expect(200);
    scene.api().wait_running(Scene::DEPLOYMENT);
}

#[test]
fn the_scheduled_example_makes_a_backup_and_keeps_the_newest() {
    let units = workspace_root().join("contrib/systemd");
    let (service, timer) = (units.join("certward-backup.service"), units.join("certward-backup.timer"));
    let mut verify = Command::new("systemd-analyze");
    match verify.args(["verify", "--man=no"]).arg(&service).arg(&timer).output() {
        Ok(output) => assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output)),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound),
    }

    let certward = Certward::start();
    let folder = certward.folder().join("backups");
    fs::create_dir(&folder).unwrap();
    for day in 1..=20 {
        fs::write(folder.join(format!("certward-202001{day:02}T030000Z.db")), "").unwrap();
    }
    fs::write(folder.join("certward-20200121T030000Z.db.partial"), "").unwrap();
    let unit = fs::read_to_string(&service).unwrap();
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/bin/sh -ec ")).unwrap();
    let script = start
        .trim_matches('\'')
        .replace("%%", "%")
        .replace("$$", "$")
        .replace("/usr/bin/certward", &certward_binary().display().to_string())
        .replace("/etc/certward/certward.toml", &certward.config().display().to_string());
    let mut shell = Command::new("sh");
    shell.args(["-ec", &script]).current_dir(&folder);
    succeed(shell);
    let left = names(&folder);
    assert_eq!(left.len(), 14, "{left:?}");
    assert_eq!(left[0], "certward-20200108T030000Z.db");
    let restored = Certward::prepare(Setup::default());
    succeed(restore_with_key(&restored, &folder.join(&left[13]), &certward));
}
