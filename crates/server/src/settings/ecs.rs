//! AWS ECS. It is on where `ECS_CLUSTER` is set.

use bakery_core::secret::Secret;

use super::reader::VarReader;

/// The text for a variable that is missing.
const REQUIRED: &str = "required because ECS_CLUSTER is set";

/// What the operator decides about the platform `ecs`. Without `ECS_CLUSTER` there is none.
#[derive(Debug, Clone)]
pub struct EcsSettings {
    /// `AWS_REGION`.
    pub region: String,
    /// `ECS_CLUSTER`.
    pub cluster: String,
    /// `ECS_SUBNETS`: 1 to 16.
    pub subnets: Vec<String>,
    /// `ECS_SECURITY_GROUPS`: 1 to 5.
    pub security_groups: Vec<String>,
    /// `ECS_EXEC_ROLE_ARN`.
    pub execution_role: String,
    /// `ECS_TASK_ROLE_ARN`.
    pub task_role: Option<String>,
    /// `ECS_LOG_GROUP`.
    pub log_group: Option<String>,
    /// `ECS_CAPACITY`.
    pub capacity: EcsCapacity,
    /// `ECS_PUBLIC_IP`.
    pub public_ip: bool,
    /// `ECS_EPHEMERAL_STORAGE`: 21 to 200 GiB; `None` = Fargate's 20.
    pub storage: Option<i32>,
    /// `AGENT_TASK_FAMILY`.
    pub family: String,
    /// `AGENT_IMAGE_SECRET_ARN`, else the login of `AGENT_IMAGE_SECRET_NAME`.
    pub pull_secret: Option<EcsPullSecret>,
    /// `CLEANUP_ECS_TASK_DEFINITIONS`.
    pub clean_up: bool,
}

/// `ECS_CAPACITY`: on what tasks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EcsCapacity {
    /// On demand.
    Fargate,
    /// Spot, which AWS may take back.
    Spot,
    /// Spot first; the second attempt on demand.
    SpotThenFargate,
}

/// The secret with which ECS pulls a private agent image.
#[derive(Debug, Clone)]
pub enum EcsPullSecret {
    /// `AGENT_IMAGE_SECRET_ARN`: one that exists.
    Arn(String),
    /// `AGENT_IMAGE_SECRET_NAME`, `_USERNAME`, `_PASSWORD`: created unless one of this name exists.
    Login {
        /// Its name.
        name: String,
        /// The user name in it.
        username: String,
        /// The password in it.
        password: Secret,
    },
}

impl VarReader<'_> {
    /// One to `most` names, separated by commas.
    fn names(&mut self, name: &'static str, most: usize, hint: &str) -> Vec<String> {
        let names = self.parts(name);
        if names.is_empty() {
            self.mistake(name, REQUIRED, hint);
        } else if names.len() > most {
            self.mistake(name, &format!("has {} names; AWS accepts at most {most}", names.len()), hint);
        }
        names
    }

    fn arn(&mut self, name: &'static str, what: &str) -> Option<String> {
        let hint = "for example arn:aws:iam::123456789012:role/bakery-agent-execution";
        self.value(name, what, hint, |text| {
            (text.starts_with("arn:") && text.matches(':').count() >= 5).then(|| text.to_owned())
        })
    }

    /// AWS ECS. `role`: its agents read contexts from S3 themselves, with a role.
    pub(super) fn ecs(&mut self, role: bool) -> Option<EcsSettings> {
        let cluster = self.text("ECS_CLUSTER")?;
        let region = self.needed(
            "AWS_REGION",
            REQUIRED,
            "set it to the region of the cluster, for example ap-northeast-2",
        );
        let subnets = "list subnets that reach S3, registries and this server, separated by commas";
        let subnets = self.names("ECS_SUBNETS", 16, subnets);
        let groups =
            "list security groups that allow all outgoing traffic and no incoming, separated by commas";
        let security_groups = self.names("ECS_SECURITY_GROUPS", 5, groups);
        let execution_role = self.arn("ECS_EXEC_ROLE_ARN", "a valid ARN");
        if self.text("ECS_EXEC_ROLE_ARN").is_none() {
            self.mistake(
                "ECS_EXEC_ROLE_ARN",
                REQUIRED,
                "set it to the role with which ECS pulls the agent image",
            );
        }
        let task_role = self.arn("ECS_TASK_ROLE_ARN", "a valid ARN");
        if role && self.text("ECS_TASK_ROLE_ARN").is_none() {
            let text = "required because agents on ECS read contexts from S3_BUCKET with this role";
            self.mistake("ECS_TASK_ROLE_ARN", text, "set it to a role with s3:GetObject on the bucket, or set S3_ACCESS_KEY and S3_SECRET_KEY: then the server signs URLs");
        }
        let storage = |text: &str| text.parse().ok().filter(|gib| (21..=200).contains(gib));
        let family = |text: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            (text.len() <= 200 && text.chars().all(plain)).then(|| text.to_owned())
        };
        Some(EcsSettings {
            region,
            cluster,
            subnets,
            security_groups,
            execution_role: execution_role.unwrap_or_default(),
            task_role,
            log_group: self.text("ECS_LOG_GROUP"),
            capacity: self.capacity(),
            public_ip: self.text("ECS_PUBLIC_IP").is_none() || self.flag("ECS_PUBLIC_IP"),
            storage: self.value(
                "ECS_EPHEMERAL_STORAGE",
                "a number of GiB from 21 to 200",
                "unset it for Fargate's 20 GiB",
                storage,
            ),
            family: self
                .value(
                    "AGENT_TASK_FAMILY",
                    "a valid task definition family",
                    "use letters, digits, `-` and `_`",
                    family,
                )
                .unwrap_or_else(|| "bakery-agent".to_owned()),
            clean_up: self.flag("CLEANUP_ECS_TASK_DEFINITIONS"),
            pull_secret: self.pull_secret(),
        })
    }

    fn capacity(&mut self) -> EcsCapacity {
        let one = |text: &str| match text {
            "fargate" => Some(EcsCapacity::Fargate),
            "spot" => Some(EcsCapacity::Spot),
            "spot-then-fargate" => Some(EcsCapacity::SpotThenFargate),
            _ => None,
        };
        let hint = "set it to fargate, spot or spot-then-fargate";
        self.value("ECS_CAPACITY", "a valid capacity", hint, one).unwrap_or(EcsCapacity::Fargate)
    }

    /// An existing secret takes precedence over one to create.
    fn pull_secret(&mut self) -> Option<EcsPullSecret> {
        let (arn, login) = (self.arn("AGENT_IMAGE_SECRET_ARN", "a valid ARN"), self.secret_login());
        arn.map(EcsPullSecret::Arn).or(login)
    }

    /// The secret to create: all three variables are set, or none.
    fn secret_login(&mut self) -> Option<EcsPullSecret> {
        const NAMES: [&str; 3] =
            ["AGENT_IMAGE_SECRET_NAME", "AGENT_IMAGE_SECRET_USERNAME", "AGENT_IMAGE_SECRET_PASSWORD"];
        let given = NAMES.map(|name| self.text(name));
        if given.iter().any(Option::is_some) {
            for (name, _) in NAMES.into_iter().zip(&given).filter(|(_, value)| value.is_none()) {
                self.mistake(
                    name,
                    "required because the other AGENT_IMAGE_SECRET_ variables are set",
                    "set all three, or only AGENT_IMAGE_SECRET_ARN",
                );
            }
        }
        let [name, username, password] = given;
        Some(EcsPullSecret::Login { name: name?, username: username?, password: Secret::new(password?) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::read;
    use super::*;

    #[test]
    fn ecs_is_on_if_a_cluster_is_named_and_reports_what_else_is_required() {
        let names = |vars: &[(&str, &str)]| -> Vec<String> {
            let mistakes = read(vars).err().map(|bad| bad.0).unwrap_or_default();
            mistakes.iter().map(|mistake| mistake.location.source.to_string()).collect()
        };
        let cluster = ("ECS_CLUSTER", "builds");
        let missing = [
            "AWS_REGION",
            "ECS_SUBNETS",
            "ECS_SECURITY_GROUPS",
            "ECS_EXEC_ROLE_ARN",
            "ECS_TASK_ROLE_ARN",
            "CONTROLLER_URL",
            "AGENT_IMAGE",
        ];
        let bucket = [cluster, ("S3_BUCKET", "contexts"), ("S3_REGION", "r")];
        assert_eq!(names(&bucket), missing);
        let keys = [&bucket[..], &[("S3_ACCESS_KEY", "k"), ("S3_SECRET_KEY", "s")]].concat();
        assert!(
            !names(&keys).iter().any(|name| name == "ECS_TASK_ROLE_ARN"),
            "then agents read from a signed URL"
        );
        let good = [
            cluster,
            ("AWS_REGION", "ap-northeast-2"),
            ("ECS_SUBNETS", "subnet-1, subnet-2,subnet-3"),
            ("ECS_SECURITY_GROUPS", "sg-1"),
            ("ECS_EXEC_ROLE_ARN", "arn:aws:iam::123456789012:role/bakery-agent-execution"),
            ("CONTROLLER_URL", "https://bakery.example.com"),
            ("AGENT_IMAGE", "reg.test/agent:1"),
        ];
        let ecs = read(&good).unwrap().ecs.unwrap();
        assert_eq!((ecs.subnets.len(), ecs.capacity, ecs.public_ip), (3, EcsCapacity::Fargate, true));
        assert_eq!((ecs.family.as_str(), ecs.clean_up, ecs.storage), ("bakery-agent", false, None));
        for (name, value) in [
            ("ECS_CAPACITY", "cheap"),
            ("ECS_SUBNETS", " , "),
            ("ECS_SECURITY_GROUPS", "a,b,c,d,e,f"),
            ("ECS_EPHEMERAL_STORAGE", "20"),
            ("ECS_EXEC_ROLE_ARN", "bakery-agent-execution"),
            ("AGENT_TASK_FAMILY", "with blank"),
            ("AGENT_IMAGE_SECRET_NAME", "pull"),
        ] {
            assert!(
                names(&[&good[..], &[(name, value)]].concat()).iter().any(|it| it.starts_with(&name[..9])),
                "{name}"
            );
        }
        let login = [
            ("AGENT_IMAGE_SECRET_NAME", "pull"),
            ("AGENT_IMAGE_SECRET_USERNAME", "me"),
            ("AGENT_IMAGE_SECRET_PASSWORD", "crumbs"),
        ];
        let settings = read(&[&good[..], &login].concat()).unwrap();
        let secret = &settings.ecs.as_ref().unwrap().pull_secret;
        assert!(matches!(secret, Some(EcsPullSecret::Login { .. })), "{secret:?}");
        assert!(!format!("{settings:?}").contains("crumbs"));
    }
}
