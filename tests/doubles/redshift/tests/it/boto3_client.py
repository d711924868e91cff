"""Every operation of the Data API, called by boto3 as it comes. Arguments: endpoint, schema, manifest."""

import sys

import boto3
from botocore.exceptions import ClientError

endpoint, schema, manifest = sys.argv[1:]
client = boto3.client("redshift-data", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="AK", aws_secret_access_key="SK")
target = {"WorkgroupName": "analytics", "Database": "dev"}


def wait(statement_id):
    while True:
        described = client.describe_statement(Id=statement_id, WaitTimeSeconds=20)
        if described["Status"] in ("FINISHED", "FAILED", "ABORTED"):
            return described


def run(sql, **more):
    return wait(client.execute_statement(Sql=sql, **target, **more)["Id"])


assert run(f"create table {schema}.people (id bigint, name varchar(10))")["Status"] == "FINISHED"
batch = wait(
    client.batch_execute_statement(
        Sqls=[
            f"create temp table stage (like {schema}.people)",
            f"copy stage from '{manifest}' iam_role default format as parquet manifest",
            f"insert into {schema}.people select * from stage",
            "select pg_last_copy_count()",
        ],
        ClientToken=f"boto3-{schema}",
        **target,
    )["Id"]
)
assert batch["Status"] == "FINISHED", batch
assert [part["ResultRows"] for part in batch["SubStatements"]] == [0, 2, 2, 1], batch
counted = client.get_statement_result(Id=batch["SubStatements"][3]["Id"])
assert counted["Records"] == [[{"longValue": 2}]], counted

selected = run(f"select id, name from {schema}.people where id = :id", Parameters=[{"name": "id", "value": "2"}])
result = client.get_statement_result(Id=selected["Id"])
assert result["Records"] == [[{"longValue": 2}, {"stringValue": "bob"}]], result
assert [column["typeName"] for column in result["ColumnMetadata"]] == ["int8", "varchar"], result

csv = run(f"select id, name from {schema}.people order by id", ResultFormat="CSV")
assert client.get_statement_result_v2(Id=csv["Id"])["Records"] == [{"CSVRecords": "1,ann\r\n2,bob\r\n"}]

failed = run("select * from nowhere")
assert failed["Status"] == "FAILED" and 'relation "nowhere" does not exist' in failed["Error"], failed

opened = client.execute_statement(Sql="create temp table kept (a int)", SessionKeepAliveSeconds=60, WaitTimeSeconds=20, **target)
assert wait(client.execute_statement(Sql="select * from kept", SessionId=opened["SessionId"])["Id"])["Status"] == "FINISHED"
assert client.list_sessions(SessionId=opened["SessionId"])["Sessions"][0]["Status"] == "AVAILABLE"

assert client.list_statements(Status="ALL")["Statements"]
assert "dev" in client.list_databases(**target)["Databases"]
assert schema in client.list_schemas(**target)["Schemas"]
assert client.list_tables(SchemaPattern=schema, **target)["Tables"] == [{"name": "people", "type": "TABLE", "schema": schema}]
assert [column["name"] for column in client.describe_table(Schema=schema, Table="people", **target)["ColumnList"]] == ["id", "name"]

for call in (
    lambda: client.get_statement_result(Id=batch["Id"]),
    lambda: client.cancel_statement(Id=selected["Id"]),
    lambda: client.execute_statement(Sql="select 1", Database="dev"),
):
    try:
        call()
        raise SystemExit("a call should have been refused")
    except ClientError as error:
        assert error.response["Error"]["Code"] == "ValidationException", error

print("every call was understood")
