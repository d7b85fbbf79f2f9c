//! Processes started by the launcher.

use std::process::Command;

use acceptance::sandbox::as_cnb_user;

use super::{Bench, Whose, named, output};
use acceptance::bench::measure::Row;

impl Bench {
    pub(super) fn starts(&self) -> Vec<Row<'_>> {
        let alone = || self.loop_of("true");
        let mut rows = vec![Row::new("`true` by itself", || {}, alone)];
        for whose in self.all() {
            let started = move || self.loop_of(&format!("{} -- true", self.launcher(whose)));
            let row = Row::new(named(whose, "`launcher -- true`"), || {}, started);
            rows.push(row.makes(move || self.environment_of(whose)));
        }
        rows
    }

    fn launcher(&self, whose: Whose) -> String {
        self.program(whose, "launcher").display().to_string()
    }

    /// 200 times `command`, which is a program and not the shell's own.
    fn loop_of(&self, command: &str) -> Command {
        let command = command.strip_prefix("true").map_or(command.to_owned(), |_| "env true".to_owned());
        self.in_image(&format!("i=0; while [ $i -lt 200 ]; do {command}; i=$((i+1)); done"))
    }

    /// The environment that a process gets.
    fn environment_of(&self, whose: Whose) -> String {
        let text = output(&mut self.in_image(&format!("{} -- env", self.launcher(whose))));
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        lines.join("\n")
    }

    /// A script with the variables that the sample application's image has.
    fn in_image(&self, script: &str) -> Command {
        let image = self.greeter.image();
        let env = image.config["config"]["Env"].as_array().into_iter().flatten();
        let env = env.filter_map(|pair| pair.as_str()?.split_once('='));
        let mut command = Command::new("sh");
        command
            .args(["-c", script])
            .env_clear()
            .envs(env)
            .current_dir(self.greeter.sandbox.path("workspace"));
        as_cnb_user(&mut command);
        command
    }
}
