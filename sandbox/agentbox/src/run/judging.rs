//! Whether the kernel may do what is done with the box's own works.

use agentbox_core::policy::settings::{KernelGate, Settings};
use agentbox_kernel::{launch::FileGate, stopped::OwnFiles};

use super::{supervise::Voice, writes::Files};

/// Who opens for writing and removes what was made in the box. The kernel only where the file gate would let it pass, wherever it lies, and where it
/// can be told by the kernel's own objects: where that is not so, the kernel gate refuses, which is slower and never looser, and it is said.
pub(super) fn own_files(settings: &Settings, files: &Files, is_without: bool, voice: Voice) -> OwnFiles {
    if settings.kernel_gate != KernelGate::Judge {
        return OwnFiles::ByGate;
    }
    let why = if files.gate_of_the_box() == FileGate::Off {
        // Nothing is judged at all, and the kernel gate is missing.
        return OwnFiles::ByGate;
    } else if !settings.files.gated.is_empty() {
        "a place of the policy holds or denies what is destroyed in a writable tree, so that all of it is judged by its place"
    } else if settings.nested_userns {
        "the agent may make namespaces of its own (`nested-userns`)"
    } else if is_without {
        "the box has no namespaces of its own"
    } else {
        return OwnFiles::ByKernel;
    };
    voice.say(&format!("the kernel gate judges nothing in this box, and refuses what only the file gate may do: {why}"));
    OwnFiles::ByGate
}
