"""Writers and readers of assets, for end-to-end tests."""

from __future__ import annotations

from typing import Any

from boraflow import DAG, Asset, AssetAlias, Metadata, asset, task

orders = Asset("orders", uri="s3://shop/orders", group="shop", extra={"owner": "sales"})
prices = Asset("prices")
stock = AssetAlias("stock")

with DAG("write_orders", schedule=None):

    @task(outlets=[orders])
    def write(outlet_events: Any) -> int:
        outlet_events[orders].extra = {"rows": 3}
        return 3

    write()

with DAG("write_prices", schedule=None):

    @task(outlets=[prices])
    def price() -> Any:
        yield Metadata(prices, {"currency": "EUR"})
        return 7

    price()

with DAG("write_stock", schedule=None):

    @task(outlets=[stock])
    def count(outlet_events: Any) -> None:
        outlet_events[stock].add(Asset("shelf"), extra={"n": 1})

    count()

with DAG("read_orders", schedule=[orders]):

    @task(inlets=[orders])
    def read(triggering_asset_events: Any, inlet_events: Any, dag_run: Any) -> dict[str, Any]:
        (event,) = triggering_asset_events[orders]
        return {
            "extra": event.extra,
            "source": [event.source_dag_id, event.source_task_id, event.source_map_index],
            "run": event.source_dag_run.run_id,
            "pushed": event.source_task_instance.xcom_pull(),
            "last": inlet_events[orders][-1].extra,
            "type": str(dag_run.run_type),
            "logical_date": dag_run.logical_date,
            "consumed": [e.asset.name for e in dag_run.consumed_asset_events],
        }

    read()

with DAG("read_both", schedule=(orders & prices)):

    @task
    def both(triggering_asset_events: Any) -> dict[str, int]:
        return {a.name: len(events) for a, events in triggering_asset_events.items()}

    both()

with DAG("read_stock", schedule=[stock]):

    @task
    def shelf(triggering_asset_events: Any) -> list[str]:
        return [e.asset.name for e in triggering_asset_events[stock]]

    shelf()


with DAG("write_copy", schedule=None):

    @task(outlets=[Asset("copy", uri="s3://shop/orders")])
    def copy() -> None:
        print("never")

    copy()


@asset(schedule=[prices], uri="file:///tmp/report")
def report(self: Any, prices: Any, context: Any) -> str:
    """Write the report."""
    return f"{self.uri} from {prices.name}: {context['inlet_events'][prices][-1].extra['currency']}"
