//! RUN: which process, with which environment and mounts.

use super::{BUILD_ID, BuildState, Invocation, RunAction, ValueError, paths};
use crate::dockerfile::{
    CommandLine, Instruction, Mount, MountFlag, MountKind, Run, heredoc_name, strip_tabs,
};
use crate::expand;

/// Returns the shell of a shell form.
pub(super) fn shell(configured: &[String]) -> Vec<String> {
    if configured.is_empty() {
        return vec!["/bin/sh".to_owned(), "-c".to_owned()];
    }
    configured.to_vec()
}

/// Prepends the shell to a shell form; leaves an exec form as it is.
pub(super) fn argv(command: &CommandLine, configured: &[String]) -> Vec<String> {
    match command {
        CommandLine::Exec(argv) => argv.clone(),
        CommandLine::Shell(text) => [shell(configured), vec![text.clone()]].concat(),
    }
}

impl BuildState {
    pub(super) fn run(
        &self,
        run: &Run,
        instruction: &Instruction,
        volatile: &mut bool,
    ) -> Result<RunAction, ValueError> {
        let mut mounts = Vec::new();
        for flag in &run.mounts {
            mounts.push(self.mount(flag, volatile)?);
        }
        let mut environment = self.scope.proxies();
        environment.extend(self.variables.clone());
        let mut key_environment = self.variables.clone();
        // A mere declaration of build_id must not make every step below it new.
        if mentions_build_id(run, instruction) {
            *volatile = true;
        } else {
            key_environment.remove(BUILD_ID);
        }
        *volatile |= key_environment.keys().any(|name| self.volatile.contains(name));
        Ok(RunAction {
            invocation: self.invocation(run),
            environment,
            key_environment,
            mounts,
            network: run.network,
        })
    }

    fn invocation(&self, run: &Run) -> Invocation {
        let (CommandLine::Shell(text), Some(first)) = (&run.command, run.heredocs.first()) else {
            return Invocation::Argv(argv(&run.command, &self.config.shell));
        };
        let mut argv = shell(&self.config.shell);
        if heredoc_name(text).is_some() {
            let body = if first.strip_tabs { strip_tabs(&first.body) } else { first.body.clone() };
            if body.starts_with("#!") {
                return Invocation::Script { shell: argv, name: first.name.clone(), body };
            }
            argv.push(body);
            return Invocation::Argv(argv);
        }
        // The shell reads the heredocs itself.
        let mut script = text.clone();
        for heredoc in &run.heredocs {
            script.push('\n');
            script.push_str(&heredoc.body);
            script.push_str(&heredoc.name);
        }
        argv.push(script);
        Invocation::Argv(argv)
    }

    fn mount(&self, flag: &MountFlag, volatile: &mut bool) -> Result<Mount, ValueError> {
        let lookup = |name: &str| self.variables.get(name).cloned();
        let used = std::cell::Cell::new(*volatile);
        let expand = |word: &str| {
            let expansion = expand::word(word, self.scope.escape(), &lookup)?;
            used.set(used.get() || !expansion.used.is_disjoint(&self.volatile));
            Ok(expansion.text)
        };
        let resolved = flag.resolve(&expand);
        *volatile = used.get();
        let mut mount = resolved.map_err(|error| ValueError::Mount { text: flag.text.clone(), error })?;
        let written = mount.target.clone();
        let secret = matches!(mount.kind, MountKind::Secret { .. } | MountKind::Ssh { .. });
        if !(secret && written.is_empty()) {
            mount.target = paths::clean(&paths::workdir(&self.config.workdir, &written));
        }
        if mount.target == "/" {
            return Err(ValueError::Invalid { what: "mount target", value: written });
        }
        if let MountKind::Cache { id, .. } = &mut mount.kind {
            id.get_or_insert_with(|| mount.target.clone());
        }
        Ok(mount)
    }
}

fn mentions_build_id(run: &Run, instruction: &Instruction) -> bool {
    instruction.original.contains(BUILD_ID)
        || run.heredocs.iter().any(|heredoc| heredoc.body.contains(BUILD_ID))
}
