"""How many operations of the store a poll, a report and a look cost; the clock, which is carried, is not counted."""

from broker_desk import TICKET, TOKEN, Wire, desks


def costs(desk):
    wire, asked = Wire(desk.store), []
    wire.before = lambda name: asked.append(name) if name != "now" else None
    worker = desk.worker(store=wire, warm=[TICKET])

    def spent():
        found = list(asked)
        asked.clear()
        return found

    worker.tick()
    return worker, spent


def test_a_poll_of_a_ticket_costs_five_operations_with_the_look_before_it():
    with desks("memory") as desk:
        worker, spent = costs(desk)
        spent()
        desk.advance(61)
        worker.tick()
        assert spent() == ["view", "acquire", "view", "take", "replace"]


def test_an_idle_look_costs_one_operation():
    with desks("memory") as desk:
        worker, spent = costs(desk)
        desk.advance(1)
        worker.tick()
        spent()
        desk.advance(1)
        worker.tick()
        assert spent() == ["generation"]


def test_a_report_of_a_dead_token_costs_ten_operations_at_most():
    with desks("memory") as desk:
        worker, spent = costs(desk)
        desk.advance(1)
        worker.tick()
        spent()
        desk.wechat.dead.add("token-1")
        desk.wechat.values["access_token"] = "token-2"
        worker.broker.report(TOKEN, "token-1", "a client")
        worker.join()
        assert len(spent()) <= 10


def test_a_report_of_a_living_token_costs_six_operations_at_most():
    with desks("memory") as desk:
        worker, spent = costs(desk)
        desk.advance(1)
        worker.tick()
        spent()
        worker.broker.report(TOKEN, "token-1")
        worker.join()
        assert len(spent()) <= 6
