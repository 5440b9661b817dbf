//! XML-RPC on the wire: calls read, answers printed.

use std::fmt::Write as _;

use quick_xml::escape::escape;

use super::fault::Fault;
use crate::yang::xml::{self, XmlElement};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Text(String),
    Integer(i32),
    Boolean(bool),
    List(Vec<Value>),
    /// In the order of printing.
    Members(Vec<(String, Value)>),
    /// Of a type that no method takes.
    Other,
}

/// A call before anybody knows its method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Called {
    pub method: String,
    pub parameters: Vec<Value>,
}

/// # Errors
/// The message is no call.
pub fn read(body: &[u8]) -> Result<Called, Fault> {
    let tops = xml::parse(body).map_err(|refusal| Fault::ill_formed(&refusal.message))?;
    let call =
        tops.iter().find(|top| &*top.name == "methodCall").ok_or_else(|| Fault::invalid("methodCall not found"))?;
    let method = child(call, "methodName").ok_or_else(|| Fault::invalid("methodName not found"))?;
    let parameters = child(call, "params").ok_or_else(|| Fault::ill_formed("no <params> element"))?;
    let values = parameters.children.iter().filter(|it| &*it.name == "param").map(|parameter| {
        let value = child(parameter, "value").ok_or_else(Fault::empty_value)?;
        read_value(value)
    });
    Ok(Called { method: method.text.trim().to_owned(), parameters: values.collect::<Result<_, _>>()? })
}

fn child<'e>(element: &'e XmlElement, name: &str) -> Option<&'e XmlElement> {
    element.children.iter().find(|child| &*child.name == name)
}

fn read_value(value: &XmlElement) -> Result<Value, Fault> {
    let Some(typed) = value.children.first() else { return Ok(Value::Text(value.text.clone())) };
    Ok(match &*typed.name {
        "string" => Value::Text(typed.text.clone()),
        "i4" | "int" => Value::Integer(typed.text.trim().parse().map_err(|_| Fault::empty_value())?),
        "boolean" => match typed.text.trim() {
            "1" => Value::Boolean(true),
            "0" => Value::Boolean(false),
            _ => return Err(Fault::empty_value()),
        },
        "array" => {
            let data = child(typed, "data").ok_or_else(Fault::empty_value)?;
            let values = data.children.iter().filter(|it| &*it.name == "value").map(read_value);
            Value::List(values.collect::<Result<_, _>>()?)
        }
        "struct" => {
            let members = typed.children.iter().filter(|it| &*it.name == "member").map(|member| {
                let (Some(name), Some(value)) = (child(member, "name"), child(member, "value")) else {
                    return Err(Fault::empty_value());
                };
                Ok((name.text.clone(), read_value(value)?))
            });
            Value::Members(members.collect::<Result<_, _>>()?)
        }
        _ => Value::Other,
    })
}

/// A methodResponse.
pub fn answer(outcome: &Result<Value, Fault>) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<methodResponse>");
    match outcome {
        Ok(value) => {
            out.push_str("<params><param>");
            write(&mut out, value);
            out.push_str("</param></params>");
        }
        Err(Fault { code, text }) => {
            let members = [("faultCode", Value::Integer(*code)), ("faultString", Value::Text(text.clone()))];
            out.push_str("<fault>");
            write(&mut out, &Value::Members(members.map(|(name, value)| (name.to_owned(), value)).into()));
            out.push_str("</fault>");
        }
    }
    out.push_str("</methodResponse>\n");
    out
}

fn write(out: &mut String, value: &Value) {
    out.push_str("<value>");
    // Writing to a string cannot fail.
    match value {
        Value::Text(text) => drop(write!(out, "<string>{}</string>", escape(text.as_str()))),
        Value::Integer(number) => drop(write!(out, "<i4>{number}</i4>")),
        Value::Boolean(is_true) => drop(write!(out, "<boolean>{}</boolean>", u8::from(*is_true))),
        Value::List(values) => {
            out.push_str("<array><data>");
            values.iter().for_each(|value| write(out, value));
            out.push_str("</data></array>");
        }
        Value::Members(members) => {
            out.push_str("<struct>");
            for (name, value) in members {
                let _ = write!(out, "<member><name>{}</name>", escape(name.as_str()));
                write(out, value);
                out.push_str("</member>");
            }
            out.push_str("</struct>");
        }
        Value::Other => {}
    }
    out.push_str("</value>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_read_with_all_its_types() {
        let text = "<?xml version='1.0'?>\n<methodCall><methodName>a.b</methodName><params>\
             <param><value>plain &amp; simple</value></param><param><value><string>x</string></value></param>\
             <param><value><int>-4</int></value></param><param><value><boolean>1</boolean></value></param>\
             <param><value><array><data><value><i4>1</i4></value></data></array></value></param>\
             <param><value><double>1.5</double></value></param></params></methodCall>";
        let called = read(text.as_bytes()).unwrap();
        assert_eq!(called.method, "a.b");
        let text = |text: &str| Value::Text(text.to_owned());
        assert_eq!(
            called.parameters,
            [
                text("plain & simple"),
                text("x"),
                Value::Integer(-4),
                Value::Boolean(true),
                Value::List(vec![Value::Integer(1)]),
                Value::Other,
            ]
        );
    }

    #[test]
    fn what_is_no_call_has_the_fault_that_clients_know() {
        let code = |text: &str| read(text.as_bytes()).unwrap_err().code;
        let cases = [
            ("", -2),
            ("<x", -1),
            ("<methodResponse/>", -2),
            ("<methodCall/>", -2),
            ("<methodCall><methodName>a</methodName></methodCall>", -1),
            ("<methodCall><methodName>a</methodName><params><param/></params></methodCall>", -5),
        ];
        for (text, expected) in cases {
            assert_eq!(code(text), expected, "{text}");
        }
        let deep = "<methodCall><methodName>a</methodName><params>".to_owned() + &"<value>".repeat(100_000);
        assert_eq!(code(&deep), -1, "and nothing is nested without end");
    }

    #[test]
    fn an_answer_is_printed_as_it_is_read() {
        let values =
            Value::Members(vec![("a<b".to_owned(), Value::List(vec![Value::Text("&".into()), Value::Boolean(false)]))]);
        insta::assert_snapshot!(answer(&Ok(values)), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <methodResponse><params><param><value><struct><member><name>a&lt;b</name><value><array><data><value><string>&amp;</string></value><value><boolean>0</boolean></value></data></array></value></member></struct></value></param></params></methodResponse>
        "#);
        insta::assert_snapshot!(answer(&Err(Fault::unconfigured("x"))), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <methodResponse><fault><value><struct><member><name>faultCode</name><value><i4>300</i4></value></member><member><name>faultString</name><value><string>Unconfigured calling host &apos;x&apos;</string></value></member></struct></value></fault></methodResponse>
        "#);
    }
}
