//! Tests of finding, reading and trusting the policy's files.

use std::os::unix::fs::PermissionsExt;

use super::*;

fn places(folder: &Path) -> Places {
    let folder = fs::canonicalize(folder).unwrap();
    for below in ["home", "work/deep", "config", "state"] {
        fs::create_dir_all(folder.join(below)).unwrap();
    }
    Places { home: folder.join("home"), workspace: folder.join("work/deep"), config: folder.join("config"), state: folder.join("state") }
}

fn candidate(folder: &Path) -> Candidate {
    let places = places(folder);
    let path = places.repository().unwrap();
    let mut files = Files { places: &places, read: BTreeMap::new() };
    let text = files.take(&path, LayerKind::Repository { trusted: false }).unwrap();
    let binding = policy::bind(text, &places.context(), &mut |name, base| files.resolve(name, base)).unwrap();
    let trust = Trust::read(&places).unwrap();
    let already = trust.is_bound(&path, &binding.digest);
    let before = trust.trusted.get(&key(&path)).filter(|_| !already).cloned();
    Candidate { places, path, binding, before, already }
}

#[test]
fn trust_is_bound_to_every_file_that_is_extended() {
    let folder = tempfile::tempdir().unwrap();
    let root = places(folder.path()).workspace.parent().unwrap().to_path_buf();
    fs::write(root.join("agentbox.toml"), "extends = \"./base.toml\"\n").unwrap();
    fs::write(root.join("base.toml"), "extends = \"default\"\n").unwrap();
    let first = candidate(folder.path());
    assert!(!first.already && first.before.is_none());
    assert_eq!(first.binding.files.len(), 3, "the file, its base, and the shipped profile");
    first.trust().unwrap();
    assert!(candidate(folder.path()).already);
    let mode = fs::metadata(folder.path().join("state/trust.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    fs::write(root.join("base.toml"), "extends = \"default\"\nnested-userns = true\n").unwrap();
    let changed = candidate(folder.path());
    assert!(!changed.already);
    assert_eq!(changed.before.unwrap().files[1].1, "extends = \"default\"\n", "the old text is there to be compared");
}

#[test]
fn the_three_layers_and_what_policy_replaces() {
    let folder = tempfile::tempdir().unwrap();
    let places = places(folder.path());
    let read = |policy: Option<&str>, profile: Option<&str>| {
        let arguments = PolicyArguments {
            policy: policy.map(str::to_owned),
            profile: profile.map(str::to_owned),
            workspace: places.workspace.clone(),
            doors: Doors::default(),
        };
        read_at(&places, &arguments)
    };
    let names = |loaded: &Loaded| loaded.layers.iter().map(|(name, kind)| format!("{name} {kind:?}")).collect::<Vec<_>>();
    assert_eq!(names(&read(None, None).unwrap()), ["profile default Profile"]);
    let root = places.workspace.parent().unwrap();
    fs::write(root.join("agentbox.toml"), "[place.internet]\nwrite = \"allow\"\n").unwrap();
    fs::write(places.config.join("policy.toml"), "[place.internet]\nread = \"hold\"\n").unwrap();
    let loaded = read(None, Some("claude")).unwrap();
    assert_eq!(
        loaded.layers.iter().map(|(_, kind)| *kind).collect::<Vec<_>>(),
        [LayerKind::Profile, LayerKind::Repository { trusted: false }, LayerKind::User]
    );
    let cell = |loaded: &Loaded, column: usize| {
        let explanation = loaded.policy.explain();
        explanation.places.iter().find(|place| place.name == "internet").unwrap().cells[column].verdict
    };
    use agentbox_core::Verdict::{Allow, Deny, Hold};
    assert_eq!((cell(&loaded, 0), cell(&loaded, 1)), (Hold, Hold), "the repository is not trusted");
    candidate(folder.path()).trust().unwrap();
    let loaded = read(None, None).unwrap();
    assert_eq!((cell(&loaded, 0), cell(&loaded, 1)), (Hold, Allow), "now it is");
    let own = folder.path().join("own.toml");
    fs::write(&own, "extends = \"ci\"\n").unwrap();
    let loaded = read(own.to_str(), None).unwrap();
    assert_eq!((cell(&loaded, 0), cell(&loaded, 1)), (Allow, Deny), "--policy stands in for the user's file");
    assert!(read(Some("nobody"), None).is_err() && read(None, Some("nobody")).is_err() && read(Some("./missing.toml"), None).is_err());
    fs::remove_file(root.join("agentbox.toml")).unwrap();
    fs::create_dir(root.join("agentbox.toml")).unwrap();
    assert!(read(None, None).is_err(), "what is there and cannot be read is an error, never nothing");
}

#[test]
fn an_example_may_be_a_message_of_a_websocket() {
    let message = r#"{"id":"1","type":"subscribe","payload":{"query":"mutation{volumeDelete(volumeId:\"x\")}"}}"#;
    let request = decode(&format!("TEXT wss://backboard.railway.com/graphql/v2 {message}")).unwrap();
    assert_eq!(request.worst().unwrap().action.as_str(), "railway.volumeDelete");
    assert!(decode("TEXT https://a.example/ {}").unwrap().worst().unwrap().effect >= agentbox_core::Effect::Destroy, "of such a method nothing is known");
}

#[test]
fn forwarded_ports_have_a_place_that_every_layer_can_speak_of() {
    use agentbox_core::Verdict::{Allow, Deny, Hold};
    let folder = tempfile::tempdir().unwrap();
    let places = places(folder.path());
    let read = |forward: &[u16]| {
        let doors = Doors { forward: forward.to_vec(), ..Doors::default() };
        read_at(&places, &PolicyArguments { workspace: places.workspace.clone(), doors, ..PolicyArguments::default() }).unwrap().policy
    };
    let host =
        |policy: &Policy| policy.explain().places.iter().find(|place| place.name == "host").map(|place| [0, 1, 2].map(|column| place.cells[column].verdict));
    assert_eq!(host(&read(&[])), None);
    // Also where an example of the shipped profile says that this port is shut.
    let policy = read(&[8080]);
    assert_eq!((host(&policy), &policy.settings().forward), (Some([Allow, Allow, Hold]), &vec![8080]));
    policy.check_examples(&decode).unwrap();
    let root = places.workspace.parent().unwrap();
    fs::write(root.join("agentbox.toml"), "forward = [\"22\"]\n[place.host]\nwrite = \"deny\"\ndestroy = \"allow\"\n").unwrap();
    let policy = read(&[8080]);
    assert_eq!((host(&policy), &policy.settings().forward), (Some([Allow, Deny, Hold]), &vec![8080]), "what is not trusted opens nothing, and may tighten");
    assert_eq!(read(&[]).settings().forward, [0; 0]);
    fs::write(places.config.join("policy.toml"), "forward = [\"5432\"]\n[place.host]\nwrite = \"allow\"\ndestroy = \"allow\"\n").unwrap();
    fs::remove_file(root.join("agentbox.toml")).unwrap();
    let policy = read(&[8080]);
    assert_eq!((host(&policy), &policy.settings().forward), (Some([Allow, Allow, Allow]), &vec![5432, 8080]));
}

#[test]
fn a_trust_file_that_others_can_write_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let places = places(folder.path());
    let path = Trust::path(&places);
    assert!(Trust::read(&places).unwrap().trusted.is_empty());
    fs::write(&path, "{\"trusted\":{}}").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(Trust::read(&places).is_err());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(Trust::read(&places).is_ok());
    fs::write(&path, "nonsense").unwrap();
    assert!(Trust::read(&places).is_err());
}

#[test]
fn odd_files_are_errors_and_nobody_waits() {
    let folder = tempfile::tempdir().unwrap();
    let places = places(folder.path());
    let mut files = Files { places: &places, read: BTreeMap::new() };
    fs::create_dir(places.workspace.join("agentbox.toml")).unwrap();
    assert!(files.take(&places.repository().unwrap(), LayerKind::User).is_err(), "a folder");
    assert!(files.take(Path::new("/dev/zero"), LayerKind::User).is_err());
    assert!(files.resolve("./missing.toml", &places.workspace).is_err());
    assert!(files.resolve("nobody", &places.workspace).unwrap_err().contains("the profiles are: default, cursor"));
}

#[test]
fn a_file_is_read_once() {
    let folder = tempfile::tempdir().unwrap();
    let places = places(folder.path());
    let path = places.workspace.join("agentbox.toml");
    fs::write(&path, "one").unwrap();
    let mut files = Files { places: &places, read: BTreeMap::new() };
    assert_eq!(files.take(&path, LayerKind::User).unwrap().bytes, b"one");
    fs::write(&path, "two").unwrap();
    assert_eq!(files.take(&path, LayerKind::User).unwrap().bytes, b"one");
}

#[test]
fn the_kernels_tables_give_our_addresses() {
    let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     |-- 192.0.2.7\n        /32 host LOCAL\n     |-- 192.0.2.255\n        /32 link BROADCAST\n";
    assert_eq!(own_v4(trie), ["192.0.2.7".parse::<IpAddr>().unwrap()]);
    let table = "00000000000000000000000000000001 01 80 10 80       lo\n20010db8000000000000000000000007 02 40 00 80     eth0\nshort\n";
    assert_eq!(own_v6(table), ["::1".parse::<IpAddr>().unwrap(), "2001:db8::7".parse().unwrap()]);
}

#[test]
fn shipped_profiles_hold_their_examples_with_the_brokers_understanding() {
    let folder = tempfile::tempdir().unwrap();
    let places = places(folder.path());
    for (name, _) in PROFILES {
        let policy = Policy::load(vec![profile(name).unwrap()], &places.context(), &mut |name, _| profile(name)).unwrap();
        policy.check_examples(&decode).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn the_incident_is_an_example_that_holds() {
    let folder = tempfile::tempdir().unwrap();
    let places = places(folder.path());
    let text = r#"
[place.production]
resources = ["railway:environment/production"]
destroy = "hold"
confirm = "name"

[[example]]
operation = 'POST https://backboard.railway.com/graphql/v2 {"query":"mutation{volumeDelete(volumeId:\"x\")}"}'
verdict   = "hold"

[[example]]
operation = "GET https://example.com/index.html"
verdict   = "allow"
"#;
    let own = LayerText { name: "own".into(), base: "/".into(), kind: LayerKind::User, bytes: text.into() };
    let policy = Policy::load(vec![profile("default").unwrap(), own], &places.context(), &mut |name, _| profile(name)).unwrap();
    let reports = policy.check_examples(&decode).unwrap_or_else(|error| panic!("{error}"));
    let incident = reports.iter().find(|report| report.operation.contains("volumeDelete(")).unwrap();
    assert_eq!(incident.place, "production", "nobody looked, so it could be there");
}

#[test]
fn requirable_layers_are_those_of_doctor() {
    let doctor: Vec<&str> = agentbox_kernel::layer::Layer::ALL.iter().map(|layer| layer.name()).collect();
    assert_eq!(policy::LAYERS, doctor);
}
