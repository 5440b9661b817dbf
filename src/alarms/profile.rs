//! Profiles: the severity that operators give to a type of alarm in place of the device's own. The first one that fits an
//! alarm counts.

use super::list::Key;
use super::shelf::Rule;
use super::types::{AlarmType, Severity};
use crate::yang::value::Element;

#[derive(Debug, Clone)]
pub struct Profile {
    alarm_type: AlarmType,
    qualifier: Rule,
    resource: Rule,
    pub severity: Severity,
}

impl Profile {
    /// Reads an entry of `alarm-profile`; `None` for one that assigns nothing to a type of ours.
    ///
    /// # Errors
    /// A rule that is no regular expression, or severities that no alarm here has.
    pub fn read(entry: &Element) -> Result<Option<Self>, String> {
        let text = |leaf: &str| entry.text_of(leaf).unwrap_or_default();
        let (qualifier, resource) = (Rule::parse(text("alarm-type-qualifier-match"))?, Rule::parse(text("resource"))?);
        let assignment = entry.child("alarm-severity-assignment-profile");
        let levels: Vec<Severity> = assignment
            .into_iter()
            .flat_map(|assignment| assignment.children_named("severity-level"))
            .filter_map(|level| level.text.as_deref().and_then(Severity::parse))
            .collect();
        let severity = match levels[..] {
            [] => return Ok(None),
            [severity] => severity,
            _ => return Err("each alarm here has one severity at a time, so one is what can be assigned".to_owned()),
        };
        Ok(AlarmType::parse(text("alarm-type-id")).map(|alarm_type| Self { alarm_type, qualifier, resource, severity }))
    }

    pub fn is_of(&self, alarm_type: AlarmType) -> bool {
        self.alarm_type == alarm_type
    }

    pub fn fits(&self, key: &Key) -> bool {
        self.is_of(key.alarm_type) && self.qualifier.fits(&key.qualifier) && self.resource.fits(&key.resource)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(resource: &str, levels: &[&str]) -> Element {
        let levels = levels.iter().map(|level| Element::leaf("severity-level", level)).collect();
        let leaves = vec![
            Element::leaf("alarm-type-id", "procyon-alarms:PROCESS_FAILED"),
            Element::leaf("alarm-type-qualifier-match", ".*"),
            Element::leaf("resource", resource),
            Element::node("alarm-severity-assignment-profile", levels),
        ];
        Element::node("alarm-profile", leaves)
    }

    #[test]
    fn a_profile_fits_the_resources_that_its_rule_names() {
        let profile = Profile::read(&entry("process (web|db)", &["minor"])).unwrap().unwrap();
        let key = |resource: &str, alarm_type| Key::new(resource, alarm_type);
        assert!(profile.fits(&key("process web", AlarmType::ProcessFailed)));
        assert!(!profile.fits(&key("process webs", AlarmType::ProcessFailed)));
        assert!(!profile.fits(&key("process web", AlarmType::ProcessRestarted)));
        assert_eq!(profile.severity, Severity::Minor);
    }

    #[test]
    fn what_cannot_be_assigned_is_said() {
        assert!(Profile::read(&entry(".*", &[])).unwrap().is_none());
        assert!(Profile::read(&entry(".*", &["minor", "major"])).unwrap_err().contains("one severity"));
        assert!(Profile::read(&entry("(", &["minor"])).unwrap_err().contains("no regular expression"));
    }
}
