use super::*;

#[test]
fn d7_memory_is_told_from_disk() {
    let mounts = "/dev/vda / ext4 rw 0 0\ntmpfs /dev/shm tmpfs rw 0 0\ntmpfs /run/user tmpfs rw 0 0\n";
    assert!(is_in_memory(mounts, "/dev/shm"));
    assert!(!is_in_memory(mounts, "/run"));
    assert!(!is_in_memory(mounts, "/run/userland"));
}

#[test]
fn d7_a_folder_that_others_have_a_hand_in_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let base = home.path().to_owned();
    let folder =
        |level: &str| Folder { base: base.clone(), levels: vec![level.to_owned(), "a.1".to_owned()] };
    folder("good").make().unwrap();
    folder("good").check().unwrap();
    std::os::unix::fs::symlink(base.join("good"), base.join("link")).unwrap();
    fs::create_dir(base.join("open")).unwrap();
    fs::set_permissions(base.join("open"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(base.join("file"), "").unwrap();
    for (level, why) in
        [("link", "is no folder"), ("open", "is open to other users"), ("file", "is no folder")]
    {
        for refused in [folder(level).make().map(drop), folder(level).check()] {
            assert!(refused.unwrap_err().to_string().contains(why), "{level}");
        }
    }
    if our_user().unwrap() == 0 {
        fs::DirBuilder::new().mode(0o700).create(base.join("theirs")).unwrap();
        std::os::unix::fs::chown(base.join("theirs"), Some(65534), None).unwrap();
        assert!(folder("theirs").make().unwrap_err().to_string().contains("another user"));
    }
}

#[test]
fn d7_the_folder_is_found_not_assumed() {
    let home = tempfile::tempdir().unwrap();
    let (used, free) = (home.path().join("used"), home.path().join("free"));
    fs::create_dir_all(&used).unwrap();
    fs::create_dir_all(&free).unwrap();
    let mounts = format!("tmpfs {} tmpfs rw 0 0\n", home.path().display());
    let root = first_usable([used.clone(), free.clone()], &mounts).unwrap();
    assert_eq!(root.base, used);
    fs::remove_dir(used.join(root.own.as_deref().unwrap())).unwrap();
    fs::write(used.join(root.own.unwrap()), "").unwrap();
    assert_eq!(first_usable([used.clone(), free], &mounts).unwrap().base.file_name().unwrap(), "free");
    let why = first_usable([used, "/nowhere".into()], &mounts).unwrap_err();
    assert!(why.contains("is no folder") && why.contains("`/nowhere` is not held in memory"), "{why}");
}

#[test]
fn d7_an_engine_of_another_machine_gets_no_files() {
    let ours = [(Some("here"), "here\n"), (Some("6.1"), "6.1\n")];
    assert_eq!(elsewhere(ours), None);
    assert_eq!(elsewhere([(None, "here"), (Some(""), "6.1")]), None);
    assert!(elsewhere([(Some("desktop"), "here\n"), ours[1]]).unwrap().contains("`desktop`"));
    assert!(elsewhere([ours[0], (Some("6.1-linuxkit"), "6.1\n")]).unwrap().contains("secrets_dir"));
    let settings = DockerSettings::default();
    let address = crate::endpoint::Address::parse("unix:///x").unwrap();
    let endpoint = Endpoint { address, tls: None, source: String::new() };
    let store = SecretStore::new(&settings, &endpoint, &"ci".parse().unwrap());
    store.set_machine(Some("another"), None);
    assert!(store.available().unwrap_err().contains("`another`"));
    let disk = DockerSettings { secrets_dir: Some("/".into()), ..settings };
    let store = SecretStore::new(&disk, &endpoint, &"ci".parse().unwrap());
    assert!(store.available().unwrap_err().contains("not held in memory"));
}

#[test]
fn d7_engines_do_not_share_files() {
    let home = tempfile::tempdir_in("/dev/shm").unwrap();
    let settings = DockerSettings { secrets_dir: Some(home.path().to_owned()), ..DockerSettings::default() };
    let address = crate::endpoint::Address::parse("unix:///x").unwrap();
    let endpoint = Endpoint { address, tls: None, source: String::new() };
    let store = SecretStore::new(&settings, &endpoint, &"ci".parse().unwrap());
    let worker = WorkerRef::first("a".parse().unwrap());
    store.set_engine("one");
    let one = store.of(&worker).unwrap().path();
    store.set_engine("two");
    assert_ne!(one, store.of(&worker).unwrap().path());
}

#[test]
fn d7_the_containers_user_can_read_its_secrets() {
    for (user, remapped, access) in [
        (None, false, Access::Owner(None)),
        (Some("root"), false, Access::Owner(None)),
        (Some("1000:50"), false, Access::Owner(Some(1000))),
        (Some("www"), false, Access::Container),
        (Some("0"), true, Access::Container),
    ] {
        assert_eq!(Access::for_user(user, remapped), access, "{user:?}");
    }
}

#[test]
fn d7_a_secret_is_a_file_of_mode_0400() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("0");
    write(&path, &"hunter2".into(), Access::Owner(None)).unwrap();
    write(&path, &"hunter3".into(), Access::Owner(None)).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"hunter3");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o400);
}

#[tokio::test]
async fn d7_files_of_nobody_are_swept() {
    let home = tempfile::tempdir_in("/dev/shm").unwrap();
    let settings = DockerSettings { secrets_dir: Some(home.path().to_owned()), ..DockerSettings::default() };
    let address = crate::endpoint::Address::parse("unix:///x").unwrap();
    let endpoint = Endpoint { address, tls: None, source: String::new() };
    let store = SecretStore::new(&settings, &endpoint, &"ci".parse().unwrap());
    store.set_engine("one");
    assert!(!store.is_used());
    let secret = [SecretReference::file("a/b", "/x")];
    let mut paths = Vec::new();
    for (id, old) in [("exists", true), ("young", false), ("gone", true)] {
        let worker = WorkerRef::first(id.parse().unwrap());
        let plan = store.plan(&worker, &secret).unwrap();
        let files = plan.files();
        assert!(store.prepare(&worker, files).await.unwrap());
        assert!(!store.prepare(&worker, files).await.unwrap());
        let path = store.of(&worker).unwrap().path();
        if old {
            let then = fs::metadata(&path).unwrap().modified().unwrap() - CUT_OFF - Duration::from_secs(1);
            fs::File::open(&path).unwrap().set_modified(then).unwrap();
        }
        paths.push(path);
    }
    assert!(store.is_used());
    store.sweep([WorkerRef::first("exists".parse().unwrap())]).await.unwrap();
    assert_eq!(paths.iter().map(|path| path.exists()).collect::<Vec<_>>(), [true, true, false]);
}

#[test]
fn d7_secrets_do_not_go_over_a_network_in_the_clear() {
    let worker = WorkerRef::first("a".parse().unwrap());
    let secret = [SecretReference::file("a/b", "/keys/x")];
    for (address, tls, remote) in [
        ("tcp://10.0.0.1:2375", None, false),
        ("tcp://10.0.0.1:2376", Some(crate::TlsSettings::in_folder("/x")), true),
        ("tcp://127.0.0.1:2375", None, true),
    ] {
        let address = crate::endpoint::Address::parse(address).unwrap();
        let endpoint = Endpoint { address, tls, source: String::new() };
        let store = SecretStore::new(&DockerSettings::default(), &endpoint, &"ci".parse().unwrap());
        assert_eq!(store.is_remote(), remote, "{endpoint}");
        match store.plan(&worker, &secret) {
            Ok(plan) => assert!(remote && plan.volumes().len() == 1),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unsupported);
                assert!(!remote && format!("{error:?}").contains("tls"), "{error}");
            }
        }
        assert!(store.plan(&worker, &[]).is_ok());
    }
}
