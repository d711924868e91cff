use super::*;

const SCAN: &str = "ERROR: Spectrum Scan Error\n  Detail:\n  -----------------------------------------------\n  error:  Spectrum Scan Error\n  code:      15007\n  context:   CONTEXT\n  query:     146667179\n  location:  dory_util.cpp:1777\n  process:   worker_thread [pid=30296]\n  -----------------------------------------------\n  [ErrorId: 1-68f7ff75]";

fn scan(context: &str) -> Failure {
    read(&SCAN.replace("CONTEXT", context))
}

fn shown(failure: Failure) -> String {
    let table: TableName = "orders".parse().unwrap();
    let error = failure.into_error(Where { table: Some(&table), purpose: Purpose::Copy, statement: "5f-1" });
    format!("{error:?} | {}", error.remedy())
}

#[test]
fn scan_errors_are_understood() {
    assert_eq!(
        scan("The length of the data column descricao is longer than the length defined in the table. Table: 200, Data: 300"),
        Failure::TooLong { column: Some("descricao".to_owned()), limit: Some(200), longest: Some(300) }
    );
    assert_eq!(
        scan("Unmatched number of columns between table and file. Table columns: 23, Data columns: 22, File name: https://s3.x/a"),
        Failure::Count { table: Some(23), file: Some(22) }
    );
    assert_eq!(
        scan(
            "File 'https://s3.eu-central-1.amazonaws.com/lake/run/part-00000.parquet?X-Amz-Signature=1' has an incompatible Parquet schema for column 's3://lake/run/part-00000.parquet.total'. Column type: DECIMAL(18, 2), Parquet schema:\noptional int64 total [i:0 d:1 r:0]"
        ),
        Failure::Mismatch {
            column: Some("total".to_owned()),
            file: Some("part-00000.parquet".to_owned()),
            expected: Some("DECIMAL(18, 2)".to_owned())
        }
    );
    // As the Data API cuts it.
    assert_eq!(
        scan("File 'https://s3.us-east-1.amazonaws.com/bucket/file.parquet' has an incompatible Parquet s"),
        Failure::Mismatch { column: None, file: Some("file.parquet".to_owned()), expected: None }
    );
    assert_eq!(
        scan("File 'https://s3/lake/p.parquet column 'num' has an invalid type length. Expecting: 8 len in file: 13"),
        Failure::Precision { column: Some("num".to_owned()) }
    );
    assert_eq!(scan("File entry does not have 'meta' key."), Failure::Manifest);
    assert_eq!(query_of(SCAN), Some(146_667_179));
}

#[test]
fn other_errors_are_understood() {
    for (text, failure) in [
        (
            "ERROR:1023 DETAIL: Serializable isolation violation on table - 100, transactions forming the cycle are: 1, 2",
            Failure::Contended,
        ),
        ("ERROR: 1018 DETAIL: Relation does not exist", Failure::Contended),
        ("ERROR: could not serialize access due to concurrent update", Failure::Contended),
        ("ERROR: Spectrum Scan Error: File not found", Failure::FileMissing),
        ("ERROR: The specified S3 prefix '2017/02' does not exist", Failure::FileMissing),
        ("ERROR: S3ServiceException:Access Denied,Status 403,Error AccessDenied,Rid 1", Failure::CopyDenied),
        (
            "ERROR: User arn:aws:redshift:eu:1:dbuser:c/u is not authorized to assume IAM Role arn:aws:iam::1:role/r",
            Failure::Denied { what: "COPY's role".to_owned() },
        ),
        ("ERROR: Retries exceeded", Failure::Throttled),
        ("ERROR: permission denied for schema marts", Failure::Denied { what: "permission denied for schema marts".to_owned() }),
        (
            "ERROR: relation \"pipeline_meta.loads\" does not exist",
            Failure::Missing { what: "relation \"pipeline_meta.loads\" does not exist".to_owned() },
        ),
        ("ERROR: schema \"pipeline_meta\" does not exist", Failure::Missing { what: "schema \"pipeline_meta\" does not exist".to_owned() }),
        (
            "ERROR: null value in column \"id\" violates not-null constraint\n  Detail: Failing row contains (secret)",
            Failure::Null { column: Some("id".to_owned()) },
        ),
        ("ERROR: terminating connection due to administrator command", Failure::Unavailable),
    ] {
        assert_eq!(read(text), failure, "{text}");
    }
}

#[test]
fn values_never_come_through() {
    for text in [
        "ERROR: Invalid digit, Value 'j', Pos 0, Type: Integer",
        "ERROR: invalid input syntax for integer: \"jan@example.com\"",
        "ERROR: value \"jan@example.com\" is out of range\n  Detail: row (jan@example.com)",
        "ERROR: null value in column \"id\" violates not-null constraint\n  Detail: Failing row contains (jan@example.com)",
        "ERROR: value too long for type character varying(5)\n  Detail: jan@example.com",
    ] {
        let shown = shown(read(text));
        assert!(!shown.contains("jan") && !shown.contains("'j'"), "{shown}");
    }
}

#[test]
fn errors_name_table_file_column_and_remedy() {
    let text = shown(
        scan("File 'https://s3.x/lake/part-00003.parquet' has an incompatible Parquet s").with_detail(None, Some("total".to_owned())),
    );
    for word in ["E-REDSHIFT-COPY", "orders", "part-00003.parquet", "total", "statement 5f-1", "contract"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let text = shown(read("The length of the data column name is longer than the length defined in the table. Table: 20, Data: 30"));
    for word in ["E-TEXT-TOO-LONG", "name", "20", "30", "wider"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let text = shown(Failure::CopyDenied);
    assert!(text.contains("E-REDSHIFT-DENIED") && text.contains("s3:ListBucket"), "{text}");
}
