//! `Model.proto`: what a model is, what goes in and out, and who made it.

use super::{FeatureType, NonMaximumSuppression, mil};
use crate::wire::{self, message, oneof};
use crate::{Error, ErrorKind};
use bytes::Bytes;
use std::collections::BTreeMap;

/// Name of the format in errors.
pub(crate) const FORMAT: &str = "Core ML model";

message! {
    /// A model of any type, the root of the file.
    pub struct Model {
        /// Version of the specification that the model needs: 9 is iOS 18.
        1 => specification_version: i32,
        /// The interface.
        2 => description: Option<ModelDescription>,
        /// True when the model can be trained on the device.
        10 => is_updatable: bool,
        /// The model proper.
        0 => kind: Option<ModelKind>,
    }

    /// The interface of a model: its features and metadata.
    pub struct ModelDescription {
        /// Inputs; empty when there are functions.
        1 => input: Vec<FeatureDescription>,
        /// Outputs; empty when there are functions.
        10 => output: Vec<FeatureDescription>,
        /// Name of the output with the predicted class.
        11 => predicted_feature_name: String,
        /// Name of the output with the class probabilities.
        12 => predicted_probabilities_name: String,
        /// States; empty when there are functions.
        13 => state: Vec<FeatureDescription>,
        /// One interface for each function of a multi-function model.
        20 => functions: Vec<FunctionDescription>,
        /// Name of the function that runs when none is asked for.
        21 => default_function_name: String,
        /// Inputs of training on the device.
        50 => training_input: Vec<FeatureDescription>,
        /// Author, licence and free text.
        100 => metadata: Option<Metadata>,
    }

    /// The interface of one function of a multi-function model.
    pub struct FunctionDescription {
        /// Name of the function.
        1 => name: String,
        /// Inputs.
        2 => input: Vec<FeatureDescription>,
        /// Outputs.
        3 => output: Vec<FeatureDescription>,
        /// Name of the output with the predicted class.
        4 => predicted_feature_name: String,
        /// Name of the output with the class probabilities.
        5 => predicted_probabilities_name: String,
        /// States.
        6 => state: Vec<FeatureDescription>,
    }

    /// One input, output or state.
    pub struct FeatureDescription {
        /// Name of the feature.
        1 => name: String,
        /// What it means, in words.
        2 => short_description: String,
        /// Its type.
        3 => feature_type: Option<FeatureType>,
    }

    /// Free text about a model.
    pub struct Metadata {
        /// What the model does.
        1 => short_description: String,
        /// Version that the author gave it.
        2 => version_string: String,
        /// Who made it.
        3 => author: String,
        /// Its licence.
        4 => license: String,
        /// Keys and values of the author's choice.
        100 => user_defined: BTreeMap<String, String>,
    }

    /// Models that run one after the other, joined by feature names.
    pub struct Pipeline {
        /// The models, in order.
        1 => models: Vec<Model>,
        /// Their names; empty or one for each model.
        2 => names: Vec<String>,
    }

    /// A pipeline whose result is a class or a number.
    pub struct PipelineWrapper {
        /// The pipeline.
        1 => pipeline: Option<Pipeline>,
    }
}

oneof! {
    /// What a model is made of. Types that Anemone does not read keep their bytes.
    #[allow(missing_docs, reason = "each variant is the member of `Model.Type` of the same name")]
    pub enum ModelKind {
        200 => PipelineClassifier(PipelineWrapper),
        201 => PipelineRegressor(PipelineWrapper),
        202 => Pipeline(Pipeline),
        300 => GlmRegressor(Bytes),
        301 => SupportVectorRegressor(Bytes),
        302 => TreeEnsembleRegressor(Bytes),
        303 => NeuralNetworkRegressor(Bytes),
        304 => BayesianProbitRegressor(Bytes),
        400 => GlmClassifier(Bytes),
        401 => SupportVectorClassifier(Bytes),
        402 => TreeEnsembleClassifier(Bytes),
        403 => NeuralNetworkClassifier(Bytes),
        404 => KNearestNeighborsClassifier(Bytes),
        500 => NeuralNetwork(Bytes),
        501 => ItemSimilarityRecommender(Bytes),
        502 => MlProgram(Box<mil::Program>),
        555 => CustomModel(Bytes),
        556 => LinkedModel(Bytes),
        560 => ClassConfidenceThresholding(Bytes),
        600 => OneHotEncoder(Bytes),
        601 => Imputer(Bytes),
        602 => FeatureVectorizer(Bytes),
        603 => DictVectorizer(Bytes),
        604 => Scaler(Bytes),
        606 => CategoricalMapping(Bytes),
        607 => Normalizer(Bytes),
        609 => ArrayFeatureExtractor(Bytes),
        610 => NonMaximumSuppression(Box<NonMaximumSuppression>),
        900 => Identity(Bytes),
        2000 => TextClassifier(Bytes),
        2001 => WordTagger(Bytes),
        2002 => VisionFeaturePrint(Bytes),
        2003 => SoundAnalysisPreprocessing(Bytes),
        2004 => Gazetteer(Bytes),
        2005 => WordEmbedding(Bytes),
        2006 => AudioFeaturePrint(Bytes),
        3000 => SerializedModel(Bytes),
    }
}

impl ModelKind {
    /// The name of the type in `Model.proto`, such as `neuralNetwork` or `mlProgram`.
    pub fn type_name(&self) -> String {
        let name = self.variant_name();
        name.chars().take(1).map(|c| c.to_ascii_lowercase()).chain(name.chars().skip(1)).collect()
    }

    /// The pipeline, for the three pipeline types.
    pub fn pipeline(&self) -> Option<&Pipeline> {
        match self {
            ModelKind::Pipeline(pipeline) => Some(pipeline),
            ModelKind::PipelineClassifier(w) | ModelKind::PipelineRegressor(w) => w.pipeline.as_ref(),
            _ => None,
        }
    }
}

impl Model {
    /// Reads a `model.mlmodel`.
    ///
    /// # Errors
    /// When the bytes are not a model, with offset and path.
    pub fn read(bytes: &Bytes) -> Result<Model, Error> {
        wire::decode(bytes).map_err(|e| e.format(FORMAT))
    }

    /// The bytes of a `model.mlmodel`.
    pub fn write(&self) -> Vec<u8> {
        wire::encode(self)
    }

    /// The ML program.
    ///
    /// # Errors
    /// When the model is of another type or of none, with the name of its type.
    pub fn program(&self) -> Result<&mil::Program, Error> {
        let found = match &self.kind {
            Some(ModelKind::MlProgram(program)) => return Ok(program),
            Some(other) => format!("is of type {}", other.type_name()),
            None => "has no type".to_owned(),
        };
        let cause = format!(
            "the model {found}, but only mlProgram is supported; convert its source to an ML program"
        );
        Err(Error::new(ErrorKind::Unsupported, cause).format(FORMAT))
    }
}

impl ModelDescription {
    /// Reads a description on its own, as compiled models embed it.
    ///
    /// # Errors
    /// When the bytes are not a description, with offset and path.
    pub fn read(bytes: &Bytes) -> Result<ModelDescription, Error> {
        wire::decode(bytes).map_err(|e| e.format("Core ML model description"))
    }
}
