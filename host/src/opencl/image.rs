//! What a device is configured with: an image from a file, or one made for a simulated device.

use super::OpenClError;
use fastcar_arch::config::AccelConfig;
use fastcar_xclbin::Xclbin;
use fastcar_xclbin::image::{FastcarImage, ImageInfo};
use std::path::Path;

/// In the name of a device that is configured with an image without a bitstream.
const SIMULATED: &str = "(simulated)";

/// An image that has been read and checked: the real runtime crashes on others.
pub struct DeviceImage {
    origin: String,
    bytes: Vec<u8>,
    info: ImageInfo,
}

impl DeviceImage {
    /// Reads an image file.
    ///
    /// # Errors
    /// [`OpenClError::ImageFile`], [`OpenClError::Container`] or [`OpenClError::Image`].
    pub fn open(path: &Path) -> Result<Self, OpenClError> {
        let bytes =
            std::fs::read(path).map_err(|source| OpenClError::ImageFile { path: path.to_owned(), source })?;
        let origin = format!("image {}", path.display());
        let container = |source| OpenClError::Container { origin: origin.clone(), source };
        let xclbin = Xclbin::from_bytes(&bytes).map_err(container)?;
        let image = |source| OpenClError::Image { origin: origin.clone(), source };
        let info = ImageInfo::read(&xclbin).map_err(image)?;
        Ok(Self { origin, bytes, info })
    }

    /// The image of a configuration for a simulated device.
    ///
    /// # Errors
    /// [`OpenClError::NoImage`] when the device is not simulated.
    pub(super) fn made_for(device: &str, config: &AccelConfig) -> Result<Self, OpenClError> {
        if !device.contains(SIMULATED) {
            return Err(OpenClError::NoImage { device: device.to_owned(), preset: config.name().to_owned() });
        }
        let origin = format!("the simulator's image of '{}'", config.name());
        match FastcarImage::simulator(config) {
            Ok(image) => Ok(Self { origin, bytes: image.to_bytes(), info: image.info().clone() }),
            Err(source) => Err(OpenClError::Image { origin, source }),
        }
    }

    /// What the image is.
    #[must_use]
    pub fn info(&self) -> &ImageInfo {
        &self.info
    }

    /// Whether it is an image of this configuration.
    pub(super) fn check(&self, model: &AccelConfig) -> Result<(), OpenClError> {
        let (image, model_identity) = (self.info.identity, fastcar_arch::identity::Identity::of(model));
        if image == model_identity {
            return Ok(());
        }
        Err(OpenClError::Identity {
            image: image.short(),
            image_preset: self.info.config.name().to_owned(),
            model: model_identity.short(),
            model_preset: model.name().to_owned(),
        })
    }

    /// Where it comes from.
    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    /// The container's bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}
