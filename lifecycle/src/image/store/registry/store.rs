//! Registries as an [`ImageStore`].

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

use ureq::http::Method;

use super::blob::BlobReader;
use super::client::{Access, Action, Client, Repository};
use super::copy::copy_layers;
use super::http::Request;
use super::upload::{UploadSink, Uploads};
use crate::digest::Digest;
use crate::image::manifest::{
    DOCKER_INDEX, DOCKER_MANIFEST, Document, MAX_BYTES, Manifest, OCI_INDEX, OCI_MANIFEST, Platform, choose,
};
use crate::image::store::document::{Documents, MAX_CONFIG_BYTES, assemble, render};
use crate::image::store::{Encoding, ImageStore, LayerSink, Need, StoreError, verify};
use crate::image::{Descriptor, Image, Layer, Origin, Saved};
use crate::reference::{ImageName, Reference};

/// Images of any number of registries.
#[derive(Debug, Clone)]
pub struct RegistryStore {
    client: Arc<Client>,
    platform: Platform,
    encoding: Encoding,
}

impl RegistryStore {
    /// Registries reached by `client`; of an index, the image for `platform` is taken.
    pub fn new(client: Client, platform: Platform, encoding: Encoding) -> Self {
        Self { client: Arc::new(client), platform, encoding }
    }

    /// The manifest or index under a tag or digest, with its text; `None` when there is none or it is hidden from us.
    fn document(
        &self,
        repository: &Repository,
        identifier: &str,
    ) -> Result<Option<(Document, String)>, StoreError> {
        let url = self.client.url(repository, &format!("manifests/{identifier}"))?;
        let kinds = [OCI_MANIFEST, DOCKER_MANIFEST, OCI_INDEX, DOCKER_INDEX].join(", ");
        let request = Request::new(Method::GET, url).header("accept", kinds);
        let response = self.client.send(&Access::new(repository, Action::Pull), request)?;
        match response.status {
            200..=299 => {}
            // Registries hide what we may not see: to a reader, both are "not there".
            401 | 404 => return Ok(None),
            _ => return Err(self.client.refused(response)),
        }
        let bytes = response.bytes(MAX_BYTES)?;
        let what = format!("{repository}:{identifier}");
        if let Ok(expected) = identifier.parse() {
            verify(&what, &bytes, expected)?;
        }
        let damaged = |why: String| StoreError::Damaged { what: what.clone(), why };
        let text = String::from_utf8(bytes).map_err(|_| damaged("its manifest is not UTF-8".to_owned()))?;
        let document = Document::parse(&text).map_err(|error| damaged(error.to_string()))?;
        Ok(Some((document, text)))
    }

    /// The manifest for our platform, with its text.
    fn manifest(
        &self,
        repository: &Repository,
        identifier: &str,
    ) -> Result<Option<(Manifest, String)>, StoreError> {
        let missing = || {
            let platform = &self.platform;
            StoreError::NotFound(format!("{repository}:{identifier} for {platform}"))
        };
        match self.document(repository, identifier)? {
            None => Ok(None),
            Some((Document::Manifest(manifest), text)) => Ok(Some((manifest, text))),
            Some((Document::Index(all), _)) => {
                let chosen = choose(&all, &self.platform).ok_or_else(missing)?;
                match self.document(repository, &chosen.digest.to_string())? {
                    Some((Document::Manifest(manifest), text)) => Ok(Some((manifest, text))),
                    _ => Err(missing()),
                }
            }
        }
    }

    fn config(&self, repository: &Repository, descriptor: &Descriptor) -> Result<Vec<u8>, StoreError> {
        if descriptor.size > MAX_CONFIG_BYTES {
            let why = format!("its config is larger than {MAX_CONFIG_BYTES} bytes");
            return Err(StoreError::Damaged { what: repository.to_string(), why });
        }
        let mut bytes = Vec::new();
        let read = BlobReader::open(&self.client, repository, descriptor)?.read_to_end(&mut bytes);
        read.map_err(|source| StoreError::Io {
            action: "read",
            what: format!("config of {repository}"),
            source,
        })?;
        Ok(bytes)
    }

    fn put_manifest(
        &self,
        repository: &Repository,
        identifier: &str,
        documents: &Documents,
    ) -> Result<(), StoreError> {
        let url = self.client.url(repository, &format!("manifests/{identifier}"))?;
        let media_type = &documents.manifest_descriptor.media_type;
        let request = Request::new(Method::PUT, url).body(media_type, documents.manifest.as_bytes());
        let response = self.client.send(&Access::new(repository, Action::Push), request)?;
        if response.is_success() { Ok(()) } else { Err(self.client.refused(response)) }
    }
}

impl ImageStore for RegistryStore {
    fn find(&self, name: &ImageName) -> Result<Option<Image>, StoreError> {
        let (repository, reference) = locate(name)?;
        let Some((manifest, text)) = self.manifest(&repository, &reference.identifier())? else {
            return Ok(None);
        };
        let config = self.config(&repository, &manifest.config)?;
        let digest = Digest::of(text.as_bytes());
        assemble(manifest, &config, ImageName::Reference(reference.pinned(digest))).map(Some)
    }

    fn documents(&self, name: &ImageName) -> Result<Option<Documents>, StoreError> {
        let (repository, reference) = locate(name)?;
        let Some((manifest, text)) = self.manifest(&repository, &reference.identifier())? else {
            return Ok(None);
        };
        let config = String::from_utf8(self.config(&repository, &manifest.config)?);
        let config = config.map_err(|_| StoreError::Damaged {
            what: format!("config of {name}"),
            why: "it is not UTF-8".to_owned(),
        })?;
        let digest = Digest::of(text.as_bytes());
        Ok(Some(Documents {
            config,
            config_descriptor: manifest.config,
            manifest_descriptor: Descriptor::new(manifest.family.manifest(), text.len() as u64, digest),
            manifest: text,
        }))
    }

    fn ensure_access(&self, name: &ImageName, need: Need) -> Result<(), StoreError> {
        let (repository, _) = locate(name)?;
        match need {
            Need::Write => Uploads { client: self.client.clone(), repository }.probe(),
            Need::Read => self.find(name).map(drop),
        }
    }

    fn open_layer(&self, layer: &Layer) -> Result<Box<dyn Read + Send + '_>, StoreError> {
        let (Origin::Stored(name), Some(blob)) = (&layer.origin, &layer.blob) else {
            return Err(StoreError::NotFound(format!("layer {} in a registry", layer.diff_id)));
        };
        let (repository, _) = locate(name)?;
        Ok(Box::new(BlobReader::open(&self.client, &repository, blob)?))
    }

    fn encoding(&self) -> Encoding {
        self.encoding
    }

    fn layer_sink(&self, target: &ImageName) -> Result<Box<dyn LayerSink + '_>, StoreError> {
        let (repository, _) = locate(target)?;
        Ok(Box::new(UploadSink::new(Uploads { client: self.client.clone(), repository })))
    }

    fn save(&self, image: &Image, names: &[ImageName]) -> Result<Saved, StoreError> {
        let documents = render(image)?;
        let mut repositories: BTreeMap<Repository, Vec<&Reference>> = BTreeMap::new();
        let mut first = None;
        for name in names {
            let (repository, reference) = locate(name)?;
            first.get_or_insert_with(|| repository.clone());
            repositories.entry(repository).or_default().push(reference);
        }
        let first =
            first.ok_or_else(|| StoreError::Refused("an image needs a name to be saved".to_owned()))?;
        for repository in repositories.keys() {
            let uploads = Uploads { client: self.client.clone(), repository: repository.clone() };
            copy_layers(image, &first, &uploads)?;
            uploads.send(documents.config_descriptor.digest, documents.config.as_bytes())?;
        }
        for (repository, references) in &repositories {
            for reference in references {
                self.put_manifest(repository, &reference.identifier(), &documents)?;
            }
        }
        Ok(Saved {
            digest: Some(documents.manifest_descriptor.digest),
            manifest_size: Some(documents.manifest_descriptor.size),
            image_id: documents.config_descriptor.digest,
            unreadable: Vec::new(),
        })
    }
}

/// The repository of a name, and the reference.
pub fn locate(name: &ImageName) -> Result<(Repository, &Reference), StoreError> {
    match name {
        ImageName::Reference(reference) => {
            let repository =
                Repository { registry: reference.registry.clone(), name: reference.repository.clone() };
            Ok((repository, reference))
        }
        ImageName::Layout { .. } | ImageName::ImageId(_) => {
            Err(StoreError::Refused(format!("`{name}` does not name an image of a registry")))
        }
    }
}

/// The first error of several threads, if any.
#[derive(Debug, Default)]
pub struct FirstError(Mutex<Option<StoreError>>);

impl FirstError {
    /// Keeps `result`'s error unless there is one already.
    pub fn note(&self, result: Result<(), StoreError>) {
        if let Err(error) = result {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }
    }

    /// Whether there is an error.
    pub fn is_set(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// The error, if any.
    pub fn into_result(self) -> Result<(), StoreError> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }
}
