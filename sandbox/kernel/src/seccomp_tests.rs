//! The compiled filters, executed on wrong and right arguments: by a small interpreter of BPF, and by the kernel.

use proptest::prelude::*;

use super::*;
use crate::{capabilities, trial::in_child};

/// `AUDIT_ARCH_X86_64` and `AUDIT_ARCH_AARCH64`.
const NATIVE: u32 = if cfg!(target_arch = "x86_64") { 0xC000_003E } else { 0xC000_00B7 };
/// `AUDIT_ARCH_I386`.
const I386: u32 = 0x4000_0003;

/// What the kernel does with a call.
#[derive(Debug, PartialEq, Eq)]
enum Does {
    Allow,
    Refuse(i32),
    Kill,
}

/// One filter on one call, by the rules of classic BPF; a program that leaves them fails the test.
fn interpret(program: &[libc::sock_filter], number: u32, arch: u32, registers: [u64; 6]) -> u32 {
    let mut data = Vec::new();
    data.extend(number.to_le_bytes());
    data.extend(arch.to_le_bytes());
    data.extend([0; 8]);
    registers.iter().for_each(|r| data.extend(r.to_le_bytes()));
    let (mut accumulator, mut at) = (0_u32, 0_usize);
    for _ in 0..4096 {
        let i = program[at];
        at += 1;
        let jump = |taken: bool| usize::from(if taken { i.jt } else { i.jf });
        match i.code {
            0x20 => {
                let offset = i.k as usize;
                assert_eq!(offset % 4, 0, "seccomp loads aligned words only");
                accumulator = u32::from_le_bytes(data[offset..offset + 4].try_into().unwrap());
            }
            0x54 => accumulator &= i.k,
            0x74 => accumulator >>= i.k,
            0x05 => at += i.k as usize,
            0x15 => at += jump(accumulator == i.k),
            0x25 => at += jump(accumulator > i.k),
            0x35 => at += jump(accumulator >= i.k),
            0x06 => return i.k,
            other => panic!("instruction {other:#x} is not expected of seccompiler"),
        }
    }
    panic!("the program does not end");
}

/// All filters as the kernel runs them: newest first, the strictest action wins, of equals the newest.
fn run(filters: &Filters, number: u32, arch: u32, registers: [u64; 6]) -> Does {
    let mut strictest = libc::SECCOMP_RET_ALLOW;
    for program in filters.programs.iter().rev() {
        let answer = interpret(program, number, arch, registers);
        if (answer & 0xffff_0000).cast_signed() < (strictest & 0xffff_0000).cast_signed() {
            strictest = answer;
        }
    }
    match strictest & 0xffff_0000 {
        libc::SECCOMP_RET_ALLOW => Does::Allow,
        libc::SECCOMP_RET_ERRNO => Does::Refuse((strictest & 0xffff).cast_signed()),
        libc::SECCOMP_RET_KILL_PROCESS => Does::Kill,
        other => panic!("action {other:#x} is not expected"),
    }
}

/// The table read plainly: every answer that some row gives.
fn answers(plan: &FilterPlan, number: libc::c_long, registers: [u64; 6]) -> Vec<i32> {
    let low = |argument: u8| (registers[usize::from(argument)] & 0xffff_ffff) as u32;
    CALLS
        .iter()
        .filter(|row| plan.includes(row) && row.number == number && row.when.iter().all(|c| c.test.holds(low(c.argument))))
        .map(|row| row.answer.errno())
        .collect()
}

fn agrees(filters: &Filters, plan: &FilterPlan, number: libc::c_long, registers: [u64; 6]) {
    let expected = answers(plan, number, registers);
    let does = run(filters, u32::try_from(number).unwrap(), NATIVE, registers);
    match does {
        Does::Allow => assert!(expected.is_empty(), "call {number} {registers:x?} passes, the table answers {expected:?}"),
        // See `known_controls`.
        Does::Refuse(libc::ENOTTY) if number == libc::SYS_ioctl => {}
        Does::Refuse(errno) => assert!(expected.contains(&errno), "call {number} {registers:x?} answers {errno}, the table {expected:?}"),
        Does::Kill => panic!("call {number} {registers:x?} kills"),
    }
}

/// Values that decide something: all that rows name, their neighbours and their single bits.
fn telling_values() -> Vec<u32> {
    let mut values = vec![0, 1, 2, 3, u32::MAX, 1000];
    for condition in CALLS.iter().flat_map(|row| row.when) {
        let (Test::Is(v) | Test::IsNot(v) | Test::AnyBit(v) | Test::Masked { is: v, .. }) = condition.test;
        values.extend([v, v.wrapping_add(1), v.wrapping_sub(1), !v, v & v.wrapping_neg(), v | 0x0008_0800]);
    }
    values.sort_unstable();
    values.dedup();
    values
}

fn plans() -> [FilterPlan; 3] {
    [FilterPlan::default(), FilterPlan { nested_userns: true, ..FilterPlan::default() }, FilterPlan { nested_userns: false, setting: Setting::Without }]
}

/// Registers with which a row's conditions hold, and for each condition some with which it alone fails where that can be.
fn hit_and_misses(row: &Call) -> ([u64; 6], Vec<[u64; 6]>) {
    let values = telling_values();
    let pick = |argument: u8, wanted: &dyn Fn(&Condition) -> bool| {
        let here: Vec<_> = row.when.iter().filter(|c| c.argument == argument).collect();
        values.iter().copied().find(|v| here.iter().all(|c| c.test.holds(*v) == wanted(c)))
    };
    let mut hit = [0; 6];
    for argument in 0..6_u8 {
        hit[usize::from(argument)] = u64::from(pick(argument, &|_| true).unwrap_or_else(|| panic!("{}: no value passes argument {argument}", row.name)));
    }
    let mut misses = Vec::new();
    for broken in row.when {
        if let Some(value) = pick(broken.argument, &|c| !std::ptr::eq(c, broken)) {
            let mut miss = hit;
            miss[usize::from(broken.argument)] = u64::from(value);
            misses.push(miss);
        }
    }
    (hit, misses)
}

#[test]
fn every_row_hits_and_every_condition_counts() {
    for plan in plans() {
        let filters = compile(&plan).unwrap();
        for row in CALLS {
            let (hit, misses) = hit_and_misses(row);
            assert!(!plan.includes(row) || answers(&plan, row.number, hit).contains(&row.answer.errno()), "{}: its own row does not match", row.name);
            assert!(row.when.is_empty() || !misses.is_empty(), "{}: no argument escapes the row, so its conditions say nothing", row.name);
            for registers in [hit].into_iter().chain(misses) {
                agrees(&filters, &plan, row.number, registers);
                // The upper halves are not read by the kernel, so they must not help.
                agrees(&filters, &plan, row.number, registers.map(|r| r | 0xdead_beef_0000_0000));
            }
        }
    }
}

#[test]
fn every_row_has_its_reason() {
    for row in CALLS {
        assert!(row.reason.split_whitespace().count() >= 2, "{}: no reason", row.name);
        assert!(row.number >= 0, "{}", row.name);
        let twins = CALLS.iter().filter(|other| other.number == row.number && other.name != row.name).count();
        assert_eq!(twins, 0, "{}: another name has its number", row.name);
    }
}

#[test]
fn nested_user_namespaces_lift_only_their_rows() {
    let lifted: Vec<_> = CALLS.iter().filter(|row| row.lifted == Lifted::WithNestedUserns).map(|row| row.name).collect();
    assert_eq!(lifted, ["unshare", "clone", "setns", "chroot"]);
    let filters = compile(&FilterPlan { nested_userns: true, ..FilterPlan::default() }).unwrap();
    let unshare = u32::try_from(libc::SYS_unshare).unwrap();
    assert_eq!(run(&filters, unshare, NATIVE, [0x1000_0000, 0, 0, 0, 0, 0]), Does::Allow);
    let mount = u32::try_from(libc::SYS_mount).unwrap();
    assert_eq!(run(&filters, mount, NATIVE, [0; 6]), Does::Refuse(libc::EPERM));
}

#[test]
fn threads_and_ordinary_sockets_pass() {
    let plan = FilterPlan::default();
    let filters = compile(&plan).unwrap();
    let passes = |number: libc::c_long, registers| {
        assert_eq!(run(&filters, u32::try_from(number).unwrap(), NATIVE, registers), Does::Allow, "call {number} {registers:x?}");
    };
    // What glibc's pthread_create and fork give to clone.
    passes(libc::SYS_clone, [0x003d_0f00, 0, 0, 0, 0, 0]);
    passes(libc::SYS_clone, [0x0120_0011, 0, 0, 0, 0, 0]);
    let cloexec = u64::from((libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK).cast_unsigned());
    for family in [libc::AF_INET, libc::AF_INET6] {
        for (kind, protocol) in [(libc::SOCK_STREAM, 0), (libc::SOCK_STREAM, libc::IPPROTO_TCP), (libc::SOCK_DGRAM, 0), (libc::SOCK_DGRAM, libc::IPPROTO_UDP)] {
            let [family, kind, protocol] = [family, kind, protocol].map(|v| u64::from(v.cast_unsigned()));
            passes(libc::SYS_socket, [family, kind | cloexec, protocol, 0, 0, 0]);
        }
    }
    passes(libc::SYS_socket, [1, 5, 0, 0, 0, 0]);
    passes(libc::SYS_socket, [16, 3 | cloexec, 0, 0, 0, 0]);
    passes(libc::SYS_socketpair, [1, 1, 0, 0, 0, 0]);
    passes(libc::SYS_personality, [0xffff_ffff, 0, 0, 0, 0, 0]);
    passes(libc::SYS_personality, [0x0004_0000, 0, 0, 0, 0, 0]);
    passes(libc::SYS_prlimit64, [0, 7, 1, 0, 0, 0]);
    passes(libc::SYS_ioctl, [0, 0x5413, 0, 0, 0, 0]);
    passes(libc::SYS_seccomp, [1, 1, 0, 0, 0, 0]);
    for number in [0, 1, 3, 4, 39, 59, 101, 231] {
        passes(number, [u64::MAX; 6]);
    }
    let make = u64::from((libc::O_CREAT | libc::O_WRONLY).cast_unsigned());
    passes(libc::SYS_openat, [0, 0, make, 0o666, 0, 0]);
    // No file is made, so that what lies in the mode's register is nothing.
    passes(libc::SYS_openat, [0, 0, u64::from(libc::O_DIRECTORY.cast_unsigned()), 0o4755, 0, 0]);
    passes(libc::SYS_fchmodat, [0, 0, 0o2775, 0, 0, 0]);
}

#[test]
fn a_foreign_architecture_kills_and_x32_does_not_exist() {
    let plan = FilterPlan::default();
    let filters = compile(&plan).unwrap();
    for number in [0, 20, 39, 425] {
        assert_eq!(run(&filters, number, I386, [0; 6]), Does::Kill, "call {number} of another architecture");
        assert_eq!(run(&filters, number, 0, [0; 6]), Does::Kill);
    }
    if cfg!(target_arch = "x86_64") {
        for number in [0, 39, 165, 512, 547, 0x3fff_ffff] {
            assert_eq!(run(&filters, X32 | number, NATIVE, [0; 6]), Does::Refuse(libc::ENOSYS), "x32 call {number}");
        }
    }
    assert_eq!(run(&filters, X32 - 1, NATIVE, [0; 6]), Does::Allow);
}

#[test]
fn a_filter_of_another_shape_is_refused() {
    let mut program = vec![libc::sock_filter { code: RETURN, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW }];
    if cfg!(target_arch = "x86_64") {
        assert!(matches!(guard_x32(&mut program), Err(SeccompError::Shape)));
    }
}

proptest! {
    #[test]
    fn filters_and_table_say_the_same(row in 0..CALLS.len(), picks in prop::array::uniform6(any::<prop::sample::Index>()), high in prop::array::uniform6(any::<u32>()), which in 0..3_usize) {
        let values = telling_values();
        let mut registers = [0; 6];
        for (register, (pick, high)) in registers.iter_mut().zip(picks.iter().zip(high)) {
            *register = u64::from(*pick.get(&values)) | u64::from(high) << 32;
        }
        let plan = plans()[which];
        agrees(&compile(&plan).unwrap(), &plan, CALLS[row].number, registers);
    }
}

/// In a child without privileges behind the real filters, so that a call that gets through by mistake does no harm.
fn behind_filters(plan: FilterPlan, work: impl FnOnce() -> Result<String, String>) -> crate::trial::Trial {
    let filters = compile(&plan).unwrap();
    in_child(|| {
        let _ = nix::unistd::setsid();
        capabilities::drop_all().map_err(|e| e.to_string())?;
        nix::sys::prctl::set_no_new_privs().map_err(|e| e.to_string())?;
        filters.install().map_err(|e| format!("install: {e}"))?;
        work()
    })
}

#[test]
fn the_kernel_refuses_every_row() {
    for plan in plans() {
        assert_eq!(refuses_every_row(plan).result(), Ok(String::new()), "{plan:?}");
    }
}

fn refuses_every_row(plan: FilterPlan) -> crate::trial::Trial {
    behind_filters(plan, || {
        for row in CALLS.iter().filter(|row| plan.includes(row)) {
            let (hit, _) = hit_and_misses(row);
            let expected = answers(&plan, row.number, hit);
            match crate::sys::raw::call(row.number, hit) {
                Err(errno) if expected.contains(&(errno as i32)) => {}
                // A clone that passed has made a second of us.
                Ok(0) if row.name == "clone" => crate::sys::fork::exit_now(9),
                other => return Err(format!("{} with {hit:x?}: {other:?} instead of {expected:?}", row.name)),
            }
        }
        Ok(String::new())
    })
}

#[test]
fn only_known_controls_pass() {
    for plan in plans() {
        only_known_controls_pass_in(&compile(&plan).unwrap());
    }
}

fn only_known_controls_pass_in(filters: &Filters) {
    let does = |command: u64| run(filters, u32::try_from(libc::SYS_ioctl).unwrap(), NATIVE, [0, command, 0, 0, 0, 0]);
    // TCGETS, FIONREAD, FIONBIO, FIOCLEX, SIOCGIFCONF, FICLONE, FS_IOC_GETFLAGS, FIGETBSZ, FS_IOC_FSGETXATTR.
    for command in [0x5401, 0x541b, 0x5421, 0x5451, 0x8912, 0x4004_9409, 0x8008_6601, 2, 0x801c_581f] {
        assert_eq!(does(command), Does::Allow, "{command:x}");
        assert_eq!(does(command | 0xdead_beef_0000_0000), Does::Allow, "{command:x}");
    }
    // FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR, FS_IOC_ENABLE_VERITY, FIDEDUPERANGE, BTRFS_IOC_SNAP_DESTROY, FIBMAP, FS_IOC_UNRESVSP64,
    // FS_IOC_ZERO_RANGE, EXT4_IOC_MOVE_EXT.
    for command in [0x4008_6602, 0x401c_5820, 0x4080_6685, 0xc018_9436, 0x5000_940f, 1, 0x4030_582b, 0x4030_5839, 0xc028_660f] {
        assert_eq!(does(command), Does::Refuse(libc::ENOTTY), "{command:x}");
    }
    assert_eq!(does(0x5412), Does::Refuse(libc::EPERM));
    assert_eq!(run(filters, 0, NATIVE, [0, 0x4008_6602, 0, 0, 0, 0]), Does::Allow, "another call is none of its business");
}

#[test]
fn ordinary_life_goes_on_behind_the_filters() {
    let trial = behind_filters(FilterPlan::default(), || {
        let thread = std::thread::spawn(|| std::fs::read_to_string("/proc/self/status").map(|s| s.len()));
        thread.join().map_err(|_| "no thread".to_owned())?.map_err(|e| e.to_string())?;
        let status = std::process::Command::new("true").status().map_err(|e| e.to_string())?;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").map_err(|e| e.to_string())?;
        std::net::TcpStream::connect(listener.local_addr().map_err(|e| e.to_string())?).map_err(|e| e.to_string())?;
        std::net::UdpSocket::bind("[::1]:0").map_err(|e| e.to_string())?;
        nix::ifaddrs::getifaddrs().map_err(|e| e.to_string())?;
        nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).map_err(|e| e.to_string())?;
        // A program may fence its children further.
        compile(&FilterPlan::default()).map_err(|e| e.to_string())?.install().map_err(|e| e.to_string())?;
        Ok(status.to_string())
    });
    assert_eq!(trial.result(), Ok("exit status: 0".to_owned()));
}

#[cfg(target_arch = "x86_64")]
#[test]
fn int_0x80_ends_the_process() {
    use nix::sys::signal::Signal;

    let without = in_child(|| Ok(crate::sys::raw::getpid_by_int80().to_string()));
    if without == crate::trial::Trial::Killed(Signal::SIGSEGV) {
        println!("SKIPPED: this kernel has no 32-bit calls at all");
        return;
    }
    let with = behind_filters(FilterPlan::default(), || Ok(crate::sys::raw::getpid_by_int80().to_string()));
    assert_eq!(with, crate::trial::Trial::Killed(Signal::SIGSYS), "without filters: {without:?}");
}

#[cfg(target_arch = "x86_64")]
#[test]
fn the_kernel_refuses_x32() {
    let trial = behind_filters(FilterPlan::default(), || match crate::sys::raw::call(libc::c_long::from(X32) | libc::SYS_getpid, [0; 6]) {
        Err(Errno::ENOSYS) => Ok(String::new()),
        other => Err(format!("{other:?}")),
    });
    assert_eq!(trial.result(), Ok(String::new()));
}

#[test]
fn without_no_new_privs_an_ordinary_process_installs_nothing() {
    let filters = compile(&FilterPlan::default()).unwrap();
    let trial = in_child(|| {
        if nix::sys::prctl::get_no_new_privs() == Ok(true) {
            return Ok("SKIPPED: no_new_privs is set already".to_owned());
        }
        capabilities::drop_all().map_err(|e| e.to_string())?;
        match filters.install() {
            Err(Errno::EACCES) => Ok(String::new()),
            other => Err(format!("{other:?}")),
        }
    });
    println!("{:?}", trial.result().unwrap());
}
