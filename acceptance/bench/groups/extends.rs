//! A Dockerfile of an extension applied to a large image.

use std::rc::Rc;

use super::images::an_engine;
use super::{Bench, Group, Whose, named};
use acceptance::bench::dockerfile::Dockerfile;
use acceptance::bench::measure::{Measured, Row};

impl Bench {
    pub(super) fn extends(&self) -> Group<'_> {
        an_engine()?;
        let image = Rc::new(Dockerfile::new(self.megabytes));
        let build = Rc::clone(&image);
        let mut rows = vec![Row::new("`docker build`", || {}, move || build.docker_build())];
        if image.buildah().is_some() {
            let image = Rc::clone(&image);
            rows.push(Row::new("`buildah bud`", || {}, move || image.buildah().expect("it was there")));
        }
        for whose in self.all() {
            let (forgetful, extended) = (Rc::clone(&image), Rc::clone(&image));
            let row = Row::of(
                named(whose, "`extender -kind run`"),
                move || forgetful.forget(),
                self.extender(whose, &image),
            );
            rows.push(row.makes(move || extended.extended()));
            if whose == Whose::Ours {
                rows.push(Row::of("the same, every step cached", || {}, self.extender(whose, &image)));
            }
        }
        Ok(rows)
    }

    fn extender(&self, whose: Whose, image: &Rc<Dockerfile>) -> impl Fn() -> Measured + use<'_> {
        let image = Rc::clone(image);
        move || image.extender(&self.program(whose, "extender")).measured
    }
}
