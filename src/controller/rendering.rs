//! From what is configured of a source to what renders it.

use crate::config::{self, Application};
use crate::render::{Helm, Kustomize, Limits, Program, Render, RenderError, Renderer, Sops};

/// Makes what renders an application's source path.
///
/// # Errors
/// If the path cannot be one.
pub fn renderer(app: &Application) -> Result<Renderer, RenderError> {
    let program =
        |name, path: &Option<std::path::PathBuf>, unconfined: bool| Program { name, path: path.clone(), unconfined };
    let kind = match &app.source.render {
        config::Render::Plain => Render::Plain,
        config::Render::Kustomize { program: path, unconfined } => {
            Render::Kustomize(Kustomize::new(program("kustomize", path, *unconfined)))
        }
        config::Render::Helm(helm) => {
            let config::Helm { program: path, unconfined, release, values_files, include_crds, kube_version } = helm;
            let release = release.as_deref().unwrap_or(&app.name);
            Render::Helm(Helm {
                values_files: values_files.clone(),
                include_crds: *include_crds,
                kube_version: kube_version.clone(),
                ..Helm::new(program("helm", path, *unconfined), release.into())
            })
        }
    };
    let sops = app.source.sops.as_ref();
    let sops = sops.map(|sops| Sops {
        program: program("sops", &sops.program, sops.unconfined),
        age_key_file: sops.age_key_file.clone(),
    });
    let renderer = Renderer::new(kind, &app.source.path, Limits::default())?;
    let renderer = renderer.with_rules(crate::targets::rules(&app.target)).with_sops(sops);
    Ok(renderer.with_namespace(app.target.namespace()))
}

/// Names what renders an application's source path and its version; empty where that cannot be told, because the program is
/// not there.
pub fn identity(app: &Application) -> String {
    renderer(app).ok().and_then(|renderer| renderer.identity()).unwrap_or_default()
}
