//! Scans a directory a few times, and prints how long each scan took.
//!
//! ```text
//! scan [DIRECTORY [stat|hash [TIMES]]]
//! ```

use std::error::Error;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use extensions::root::Root;
use extensions::snapshot::{IgnoreSet, Method, diff, mount_points, scan};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().unwrap_or_else(|| "/".to_owned());
    let method = if arguments.next().as_deref() == Some("hash") { Method::Hash } else { Method::Stat };
    let times = arguments.next().map_or(Ok(3), |times| times.parse::<u32>())?;
    let root = Root::open(Path::new(&path))?;
    let ignore = IgnoreSet::new(mount_points(&root)?);
    for _ in 0..times {
        let start = Instant::now();
        let tree = scan(&root, &ignore, method)?;
        let scanned = start.elapsed();
        let start = Instant::now();
        let changes = diff(&tree, &tree).len();
        let compared = start.elapsed();
        let entries = tree.len();
        writeln!(
            std::io::stdout(),
            "{method:?}: {entries} entries in {scanned:?}, compared in {compared:?}, {changes} changes"
        )?;
    }
    Ok(())
}
