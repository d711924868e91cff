//! What Redshift refuses is refused through the whole way, and changes nothing.

use crate::harness::{double, schema};

#[test]
fn postgres_features_are_refused() {
    let double = double();
    let schema = schema(double);
    double.run(&format!("create table {schema}.t (id int primary key, a varchar(5), at timestamp)")).unwrap();
    for sql in [
        "insert into S.t values (1) on conflict do nothing",
        "insert into S.t values (1) returning id",
        "create index i on S.t (id)",
        "create unique index i on S.t (id)",
        "create sequence S.q",
        "create trigger g before insert on S.t for each row execute function f()",
        "create type S.mood as enum ('a')",
        "create table S.u (id serial)",
        "create table S.u (id uuid)",
        "create table S.u (doc json)",
        "create table S.u (doc jsonb)",
        "create table S.u (b bytea)",
        "create table S.u (a int[])",
        "create table S.u (a int check (a > 0))",
        "create table S.u (a int) partition by list (a)",
        "create table S.u (a int) inherits (S.t)",
        "create table S.u (a decimal(39,0))",
        "create table S.u (a varchar(65536))",
        "create table S.u (tag int)",
        "create table S.u (\"oid\" int)",
        "create table S.select (a int)",
        "select distinct on (a) a from S.t",
        "select count(*) filter (where a = 'x') from S.t",
        "select string_agg(a, ',') from S.t",
        "select array_agg(a) from S.t",
        "select a is distinct from 'x' from S.t",
        "select * from S.t, generate_series(1, 3)",
        "select * from (values (1)) as v",
        "values (1)",
        "select array[1]",
        "select a::json from S.t",
        "select a::uuid from S.t",
        "select E'x'",
        "select * from S.t for update",
        "savepoint p",
        "rollback to savepoint p",
        "alter table S.t add column if not exists b int",
        "alter table S.t add column b int, add column c int",
        "alter table S.t alter column id drop not null",
        "alter table S.t alter column a set default 'x'",
        "alter table S.t alter column id type bigint",
        "create materialized view if not exists S.m as select a from S.t",
        "create materialized view S.m as select a from S.t order by a",
        "merge into S.t x using S.s on x.id = s.id when matched then delete when not matched then insert values (1)",
        "with gone as (delete from S.t returning *) select * from gone",
    ] {
        let sql = sql.replace("S.", &format!("{schema}."));
        double.error(&sql);
    }
    assert_eq!(
        double.value(&format!("select count(*) from svv_columns where table_schema = '{schema}'")),
        3,
        "nothing was made or changed"
    );
}

#[test]
fn refusals_have_redshifts_words() {
    let double = double();
    let schema = schema(double);
    for (sql, text) in [
        ("create table S.t (id uuid)", "Column \"t.id\" has unsupported type \"uuid\"."),
        ("create index i on S.t (a)", "not supported on Redshift tables."),
        ("select string_agg('a', ',')", "Specified types or functions (one per INFO message) not supported on Redshift tables."),
        ("select E'x'", "type \"e\" does not exist"),
        ("insert into S.t values (1) on conflict do nothing", "syntax error at or near \"on\""),
        ("select st_point(1, 2)", "the Redshift double does not do the spatial function ST_POINT"),
        ("unload ('select 1') to 's3://b/k' iam_role default", "the Redshift double does not do UNLOAD"),
    ] {
        let error = double.error(&sql.replace("S.", &format!("{schema}.")));
        assert!(error.contains(text), "{sql}: {error}");
    }
}

#[test]
fn what_must_run_alone_is_refused_in_a_transaction() {
    let double = double();
    let schema = schema(double);
    double.run(&format!("create table {schema}.t (a varchar(5))")).unwrap();
    double.run(&format!("create table {schema}.u (a varchar(5))")).unwrap();
    for sql in [
        "vacuum S.t",
        "alter table S.t alter column a type varchar(9)",
        "alter table S.t append from S.u",
        "create database other",
        "drop database dev",
        "create external table S.x (a int)",
    ] {
        let sql = sql.replace("S.", &format!("{schema}."));
        let described = double.batch(&[&sql]);
        assert!(described["Error"].as_str().unwrap().contains("cannot run inside a transaction block"), "{sql}: {described}");
    }
    double.run(&format!("insert into {schema}.u values ('x')")).unwrap();
    double.run(&format!("alter table {schema}.t append from {schema}.u")).unwrap();
    assert_eq!(double.rows(&format!("select (select count(*) from {schema}.t), (select count(*) from {schema}.u)")), [[1, 0]]);
}
